import { Application } from "vendor/stimulus";
import AuditController from "controllers/audit_controller";
import AutosaveController from "controllers/autosave_controller";
import ChartController from "controllers/chart_controller";
import InviteController from "controllers/invite_controller";
import LeavingController from "controllers/leaving_controller";
import MembersController from "controllers/members_controller";
import NewWorkspaceController from "controllers/new_workspace_controller";
import NumbersController from "controllers/numbers_controller";
import RevealController from "controllers/reveal_controller";
import ToastController from "controllers/toast_controller";
import { watchMishaps } from "models/mishaps";
import { followPreferences } from "models/preferences";

followPreferences();
const application = new Application();
watchMishaps(application);

application.register("audit", AuditController);
application.register("autosave", AutosaveController);
application.register("chart", ChartController);
application.register("invite", InviteController);
application.register("leaving", LeavingController);
application.register("members", MembersController);
application.register("new-workspace", NewWorkspaceController);
application.register("numbers", NumbersController);
application.register("reveal", RevealController);
application.register("toast", ToastController);
application.start();
