#include "pipelines/migrations.h"
#include "services/pipelines/pipelines.h"

#define MSG(name) &hodei__v1__##name##__descriptor

static const struct hd_rpc rpcs[] = {
    {"ApplyPipeline", MSG(apply_pipeline_request), MSG(apply_pipeline_reply), pip_apply},
    {"GetPipeline", MSG(get_pipeline_request), MSG(pipeline), pip_get},
    {"ListPipelines", MSG(list_pipelines_request), MSG(list_pipelines_reply), pip_list},
    {"DeletePipeline", MSG(delete_pipeline_request), MSG(empty), pip_delete},
};

static const struct hd_answer answers[] = {
    [PIP_A_PUSHED] = {"pushed", MSG(empty), pip_push_answered},
};

static const struct hd_timer timers[] = {
    {PIP_PUSH_TIMER, 1000, pip_push_due},
};

#define N(table) (sizeof(table) / sizeof((table)[0]))

int main(int argc, char **argv) {
    const struct hd_service_def def = {
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
        .n_sql = pip_sql_len,
        .migrations = hd_embedded_migrations,
        .n_migrations = N(hd_embedded_migrations),
        .init = pip_init,
        .release = pip_release,
    };
    return hd_service_main(&def, argc, argv);
}
