import { Application } from "vendor/stimulus";
import RevealController from "controllers/reveal_controller";

Application.start().register("reveal", RevealController);
