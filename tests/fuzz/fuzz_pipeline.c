// Text → compiled pipeline: no crash; an error says what and where; what compiles fits into a message and its graph is right.
#include "base/buf.h"
#include "base/pb.h"
#include "services/pipelines/compile.h"
#include "services/pipelines/diff.h"
#include "services/pipelines/keys.h"
#include "services/pipelines/render.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok) {
    if (!ok)
        abort();
}

// Edges go to other jobs, and each stands at both ends.
static void check_graph(const Hodei__V1__CompiledPipeline *p) {
    size_t needs = 0, dependents = 0;
    for (size_t i = 0; i < p->n_jobs; i++) {
        needs += p->jobs[i]->n_needs;
        dependents += p->jobs[i]->n_dependents;
        for (size_t k = 0; k < p->jobs[i]->n_needs; k++)
            must(p->jobs[i]->needs[k] < p->n_jobs && p->jobs[i]->needs[k] != i);
        for (size_t k = 0; k < p->jobs[i]->n_steps; k++)
            must(!*p->jobs[i]->steps[k]->script != !p->jobs[i]->steps[k]->n_argv);
    }
    must(needs == dependents);
}

static void check_error(const struct hd_err *err, size_t size) {
    must(err->status == HD_INVALID && err->text[0]);
    must((err->line > 0 && err->column > 0) || size > PIP_SOURCE_MAX);
    must(hd_utf8_valid(err->text, strlen(err->text)) && hd_utf8_valid(err->field, strlen(err->field)) &&
         hd_utf8_valid(err->hint, strlen(err->hint)));
}

// What compiles can be planned, or there is an error that says why not; a plan fits into a message.
static void check_plan(struct hd_arena *arena, const Hodei__V1__CompiledPipeline *p) {
    Hodei__V1__RenderPipelineRequest request = HODEI__V1__RENDER_PIPELINE_REQUEST__INIT;
    Hodei__V1__PipelinePlan *plan;
    struct hd_err err = {0};
    if (pip_render(arena, p, &request, &err, &plan) != HD_OK) {
        must(err.text[0] && (err.status == HD_INVALID || err.status == HD_LIMITED));
        return;
    }
    must(plan->n_jobs >= p->n_jobs);
    must(protobuf_c_message_get_packed_size(&plan->base) <= HD_PB_MAX_BYTES);
}

// Each half of the input against the other.
static void check_diff(struct hd_arena *arena, const uint8_t *data, size_t size) {
    Hodei__V1__DiffPipelineReply reply = HODEI__V1__DIFF_PIPELINE_REPLY__INIT;
    char *a = hd_arena_strndup(arena, (const char *)data, size / 2);
    char *b = hd_arena_strndup(arena, (const char *)data + size / 2, size - size / 2);
    pip_diff(arena, &(struct pip_side){"a", a}, &(struct pip_side){"b", b}, &reply);
    must(!*reply.diff == (strcmp(a, b) == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct hd_arena arena;
    struct hd_err err = {0};
    Hodei__V1__CompiledPipeline *p;
    ProtobufCMessage *again;
    uint8_t *packed;
    size_t len;

    hd_arena_init(&arena);
    if (pip_compile(&arena, (const char *)data, size, &err, &p) == HD_OK) {
        check_graph(p);
        hd_pb_pack(&arena, &p->base, &packed, &len);
        must(len <= PIP_COMPILED_MAX);
        must(hd_pb_unpack(&arena, &hodei__v1__compiled_pipeline__descriptor, packed, len, &err, &again) == HD_OK);
        check_plan(&arena, p);
    } else {
        check_error(&err, size);
    }
    check_diff(&arena, data, size);
    hd_arena_release(&arena);
    return 0;
}
