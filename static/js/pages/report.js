import { Application } from "vendor/stimulus";
import ReportChartController from "controllers/report_chart_controller";
import ReportFilterController from "controllers/report_filter_controller";
import ReportTableController from "controllers/report_table_controller";

const application = Application.start();

application.register("report-chart", ReportChartController);
application.register("report-filter", ReportFilterController);
application.register("report-table", ReportTableController);
