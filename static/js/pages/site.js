import { Application } from "vendor/stimulus";
import LogoutController from "controllers/logout_controller";
import PasskeyController from "controllers/passkey_controller";
import RevealController from "controllers/reveal_controller";
import { tellZone } from "models/zone";

tellZone();
const application = new Application();

application.register("logout", LogoutController);
application.register("passkey", PasskeyController);
application.register("reveal", RevealController);
application.start();
