import { Application } from "vendor/stimulus";
import AutosaveController from "controllers/autosave_controller";
import ChartController from "controllers/chart_controller";
import NumbersController from "controllers/numbers_controller";
import RevealController from "controllers/reveal_controller";
import ToastController from "controllers/toast_controller";
import { watchMishaps } from "models/mishaps";
import { followPreferences } from "models/preferences";

followPreferences();
const application = new Application();
watchMishaps(application);

application.register("autosave", AutosaveController);
application.register("chart", ChartController);
application.register("numbers", NumbersController);
application.register("reveal", RevealController);
application.register("toast", ToastController);
application.start();
