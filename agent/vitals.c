#include "agent/vitals.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/statvfs.h>

#include "agent/monitor/usage.h"
#include "base/resources.h"

#define LOOK_MS 1000

enum hd_status vitals_configure(struct vitals *vitals, const struct hd_settings *settings, struct hd_err *err) {
    const char *text = hd_settings_text(settings, "disk-floor");
    int64_t floor = 0;
    if (*text && !hd_streq(text, "0") && hd_bytes_parse(text, &floor) != HD_OK) {
        hd_err_set(err, HD_INVALID, "disk-floor: \"%.40s\" is not an amount of bytes", text);
        hd_err_hint(err, "for example 512Mi or 10Gi; 0 takes work whatever is free");
        return HD_INVALID;
    }
    vitals->disk_floor_bytes = floor;
    vitals->look_ms = 0;
    return HD_OK;
}

// --- the machine -----------------------------------------------------------------------------------------------------

const char *vitals_unfit(struct vitals *vitals, int64_t mono_ms) {
    struct statvfs fs;
    HD_AUTO_BUF struct hd_buf floor = {0};
    if (mono_ms < vitals->look_ms)
        return vitals->unfit;
    vitals->look_ms = mono_ms + LOOK_MS;
    if (fstatvfs(vitals->monitor.dir_fd, &fs) != 0)
        return vitals->unfit;
    int64_t free_bytes = (int64_t)(fs.f_bavail * fs.f_frsize), want = vitals->disk_floor_bytes;
    vitals->low = free_bytes < (vitals->low ? want + want / 10 : want);
    vitals->unfit[0] = '\0';
    if (vitals->low) { // no number that changes: whoever hears it need not hear it again
        hd_resource_format(HD_DISK_BYTES, want, &floor);
        snprintf(vitals->unfit, sizeof(vitals->unfit),
                 "less than %s (disk-floor) is free beside its state folder %.180s: free some", floor.data,
                 vitals->state);
    }
    return vitals->unfit;
}

// --- jobs ------------------------------------------------------------------------------------------------------------

static int by_memory(const void *a, const void *b) {
    const struct vitals_job *x = a, *y = b;
    return x->memory_bytes != y->memory_bytes ? (x->memory_bytes < y->memory_bytes ? 1 : -1)
                                              : strcmp(x->attempt, y->attempt);
}

static int64_t spool_of(const struct attempt *attempt) {
    const struct attempt_log *log = attempt->log;
    if (!log)
        return 0;
    uint64_t gone = log->dropped_byte > log->acked_byte ? log->dropped_byte : log->acked_byte;
    return log->known_byte > gone ? (int64_t)(log->known_byte - gone) : 0;
}

static size_t look(const struct session *session, struct vitals_job *ret) {
    struct usage_job *usages = hd_calloc(session->live + 1, sizeof(*usages));
    struct attempt *attempt;
    size_t n = 0;
    for (size_t pos = 0; n < session->live && (attempt = hd_map_next(&session->attempts, &pos, NULL));) {
        if (attempt->ended || !attempt->started)
            continue;
        usages[n].leader = attempt->pid;
        hd_strlcpy(ret[n].attempt, attempt->text, sizeof(ret[n].attempt));
        ret[n].cpu_ms = attempt->steps_cpu_ms;
        ret[n++].spool_bytes = spool_of(attempt);
    }
    usage_read(usages, n);
    for (size_t i = 0; i < n; i++) {
        ret[i].cpu_ms += usages[i].cpu_ms;
        ret[i].memory_bytes = usages[i].memory_bytes;
        ret[i].processes = usages[i].processes;
    }
    free(usages);
    return n;
}

void vitals_fill(struct vitals *vitals, const struct session *session, Hodei__V1__HeartbeatRequest *ret) {
    struct vitals_job *all = HD_NEW_ARRAY(session->arena, session->live + 1, struct vitals_job);
    size_t n = look(session, all);
    if (n)
        qsort(all, n, sizeof(*all), by_memory);
    vitals->n_jobs = n < VITALS_JOBS_MAX ? n : VITALS_JOBS_MAX;
    ret->load = HD_NEW(session->arena, Hodei__V1__WorkerLoad);
    *ret->load = (Hodei__V1__WorkerLoad)HODEI__V1__WORKER_LOAD__INIT;
    monitor_read(&vitals->monitor, ret->load);
    ret->jobs = HD_NEW_ARRAY(session->arena, vitals->n_jobs + 1, Hodei__V1__JobUsage *);
    for (size_t i = 0; i < vitals->n_jobs; i++) {
        const struct vitals_job *from = &all[i];
        vitals->jobs[i] = *from;
        Hodei__V1__JobUsage *job = ret->jobs[ret->n_jobs++] = HD_NEW(session->arena, Hodei__V1__JobUsage);
        *job = (Hodei__V1__JobUsage)HODEI__V1__JOB_USAGE__INIT;
        job->attempt = (char *)(uintptr_t)from->attempt;
        job->cpu_ms = from->cpu_ms;
        job->memory_bytes = from->memory_bytes;
        job->processes = from->processes;
        job->spool_bytes = from->spool_bytes;
    }
}

// --- metrics ---------------------------------------------------------------------------------------------------------

// One line a job, those of the last heartbeat: at most 100.
void vitals_metrics(const struct vitals *vitals, struct hd_buf *out) {
    static const struct {
        const char *name, *help, *type;
    } rows[] = {{"hodei_agent_job_cpu_ms_total", "CPU time of a running attempt", "counter"},
                {"hodei_agent_job_memory_bytes", "Resident memory of a running attempt", "gauge"},
                {"hodei_agent_job_processes", "Processes of a running attempt", "gauge"},
                {"hodei_agent_job_spool_bytes", "Log of a running attempt that waits to be stored", "gauge"}};
    hd_metrics_format(monitor_metrics, MONITOR_COUNT, out);
    for (size_t k = 0; k < sizeof(rows) / sizeof(rows[0]); k++) {
        hd_buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", rows[k].name, rows[k].help, rows[k].name, rows[k].type);
        for (size_t i = 0; i < vitals->n_jobs; i++) {
            const struct vitals_job *job = &vitals->jobs[i];
            const int64_t values[] = {job->cpu_ms, job->memory_bytes, job->processes, job->spool_bytes};
            hd_buf_addf(out, "%s{attempt=\"%s\"} %" PRId64 "\n", rows[k].name, job->attempt, values[k]);
        }
    }
}
