// The tables of the service, where tests link them too.
#include "hodei/v1/quota.pb-c.h"
#include "hodei/v1/run.pb-c.h"
#include "pipelines/migrations.h"
#include "services/pipelines/schedules.h"

#define MSG(name) &hodei__v1__##name##__descriptor

static const struct hd_rpc rpcs[] = {
    {"ApplyPipeline", MSG(apply_pipeline_request), MSG(apply_pipeline_reply), pip_apply, .narrow = true},
    {"GetPipeline", MSG(get_pipeline_request), MSG(pipeline), pip_get, .narrow = true},
    {"ListPipelines", MSG(list_pipelines_request), MSG(list_pipelines_reply), pip_list, .narrow = true},
    {"DeletePipeline", MSG(delete_pipeline_request), MSG(empty), pip_delete, .narrow = true},
    {"ListPipelineVersions", MSG(list_pipeline_versions_request), MSG(list_pipeline_versions_reply), pip_list_versions,
     .narrow = true},
    {"DiffPipeline", MSG(diff_pipeline_request), MSG(diff_pipeline_reply), pip_diff_versions, .narrow = true},
    {"RenderPipeline", MSG(render_pipeline_request), MSG(pipeline_plan), pip_render_plans, .narrow = true},
    {"GetPipelineSchema", MSG(empty), MSG(get_pipeline_schema_reply), pip_get_schema},
    {"PutGrants", MSG(put_grants_request), MSG(empty), pip_put_grants},
    {"GetUsage", MSG(get_usage_request), MSG(get_usage_reply), pip_get_usage},
    {"ListSchedules", MSG(list_schedules_request), MSG(list_schedules_reply), pip_list_schedules, .narrow = true},
    {"PauseSchedule", MSG(pause_schedule_request), MSG(schedule), pip_pause_schedule, .narrow = true},
    {"ResumeSchedule", MSG(resume_schedule_request), MSG(schedule), pip_resume_schedule, .narrow = true},
};

static const struct hd_answer answers[] = {
    [PIP_A_PUSHED] = {"pushed", MSG(empty), pip_push_answered},
    [PIP_A_LOOKED] = {"looked", MSG(run), pip_looked},
    [PIP_A_CANCELLED] = {"cancelled", MSG(cancel_run_reply), pip_cancelled},
    [PIP_A_STARTED] = {"started", MSG(start_run_reply), pip_started},
};

static const struct hd_timer timers[] = {
    {PIP_PUSH_TIMER, 1000, pip_push_due},
    {PIP_TICKS_TIMER, 1000, pip_ticks_due},
    {"commands", 60000, pip_commands_prune},
};

struct hd_metric pip_metrics[PIP_METRIC_COUNT] = {
    [PIP_M_APPLIED] = {"hodei_pipelines_applied_total", "result=\"changed\"", "definitions applied", HD_COUNTER},
    [PIP_M_UNCHANGED] = {"hodei_pipelines_applied_total", "result=\"unchanged\"", "definitions applied", HD_COUNTER},
    [PIP_M_REFUSED] = {"hodei_pipelines_applied_total", "result=\"invalid\"", "definitions applied", HD_COUNTER},
    [PIP_M_DELETED] = {"hodei_pipelines_deleted_total", NULL, "pipelines deleted", HD_COUNTER},
    [PIP_M_PUSHED] = {"hodei_pipelines_pushed_total", NULL, "versions that the orchestrator has confirmed", HD_COUNTER},
    [PIP_M_PUSH_FAILED] = {"hodei_pipelines_push_failed_total", NULL, "requests to the orchestrator that failed",
                           HD_COUNTER},
    [PIP_M_TICK_STARTED] = {"hodei_pipelines_ticks_total", "outcome=\"started\"", "ticks of schedules", HD_COUNTER},
    [PIP_M_TICK_SKIPPED] = {"hodei_pipelines_ticks_total", "outcome=\"skipped\"", "ticks of schedules", HD_COUNTER},
    [PIP_M_TICK_REFUSED] = {"hodei_pipelines_ticks_total", "outcome=\"refused\"", "ticks of schedules", HD_COUNTER},
    [PIP_M_TICK_UNANSWERED] = {"hodei_pipelines_tick_asks_failed_total", NULL,
                               "questions of schedules to the orchestrator without an answer", HD_COUNTER},
    [PIP_M_PAUSED] = {"hodei_pipelines_schedules_paused_total", NULL, "schedules paused after refusals", HD_COUNTER},
};

static enum hd_status init(struct hd_service *service, const struct hd_settings *settings, void **ret_self,
                           struct hd_err *err) {
    struct pipelines *self = pip_new();

    (void)settings;
    (void)err;
    pip_attach(self, service);
    *ret_self = self;
    return HD_OK;
}

#define N(table) (sizeof(table) / sizeof((table)[0]))

const struct hd_service_def pip_def = {
    .name = "pipelines",
    .about = "keeps pipeline definitions and their versions, and compiles them",
    .rpcs = rpcs,
    .n_rpcs = N(rpcs),
    .answers = answers,
    .n_answers = N(answers),
    .timers = timers,
    .n_timers = N(timers),
    .metrics = pip_metrics,
    .n_metrics = PIP_METRIC_COUNT,
    .sql = pip_sql,
    .n_sql = PIP_SQL_COUNT,
    .migrations = hd_embedded_migrations,
    .n_migrations = N(hd_embedded_migrations),
    .init = init,
    .release = pip_release,
};
