#!/usr/bin/env python3
"""The simulator has teeth: code that is broken on purpose is caught.

Each mutant is one change of a source; it is compiled, linked before the libraries, and simulated until a seed fails. A mutant whose source has
changed so that it no longer applies counts as failed: write it anew.

mutants.py BUILD SEEDS [WORD…]: what to link is read from the environment, as the Makefile sets it (COMPILE, LINK, OBJECTS, LIBRARIES)."""

import concurrent.futures
import os
import re
import shlex
import subprocess
import sys

ORC, REG, AGENT, RUN = "services/orchestrator/", "services/worker-registry/", "agent/", "libhodei/service/"
MUTANTS = [
    # The runner.
    ("a commit that is not one: what was said of it goes out", RUN + "batch.c",
     "    HD_TRY(tx->commit(cx, service->env.store));\n",
     "    if (hd_rng_below(cx->rng, 40) == 0)\n        tx->rollback(cx, service->env.store);\n    else\n        HD_TRY(tx->commit(cx, service->env.store));\n"),
    # Placements.
    ("an assignment does not say of which incarnation it is", ORC + "publish.c", "    to->incarnation = attempt->incarnation;\n", ""),
    # Reports and ends.
    ("what is lost may still end", ORC + "machine.c", '    {ATT(ASSIGNED), ORC_ATTEMPT_START, ATT(RUNNING), ORC_ALWAYS, ""},\n',
     '    {ATT(ASSIGNED), ORC_ATTEMPT_START, ATT(RUNNING), ORC_ALWAYS, ""},\n    {ATT(LOST), ORC_ATTEMPT_SUCCEED, ATT(SUCCEEDED), ORC_ALWAYS, ""},\n'),
    ("a report is acknowledged as final before its end", ORC + "change.c", "        ret_final[i] = !mine || orc_attempt_ended(attempt->state);\n", "        ret_final[i] = true;\n"),
    ("an attempt that is lost is not tried again", ORC + "advance.c", "job->losses < ORC_MAX_LOSSES)\n            facts |= ORC_MAY_TRY_AGAIN;\n", "job->losses < ORC_MAX_LOSSES)\n            facts |= 0;\n"),
    ("an attempt that was refused is not tried again", ORC + "advance.c", "    } else if (event == ORC_ATTEMPT_REFUSE && job->attempts < ORC_MAX_ATTEMPTS) {\n        facts |= ORC_MAY_TRY_AGAIN;\n",
     "    } else if (event == ORC_ATTEMPT_REFUSE && job->attempts < ORC_MAX_ATTEMPTS) {\n        facts |= 0;\n"),
    ("who is held for a worker is tried again at once", ORC + "advance.c", "    if (event == ORC_ATTEMPT_GONE && !is_waited_for(attempt))\n", "    if (event == ORC_ATTEMPT_GONE)\n"),
    # The graph.
    ("a job starts when the first of its needs is met", ORC + "graph.c", "    to->deps_left--;\n", "    to->deps_left = 0;\n"),
    ("an end is not told to who needs it", ORC + "graph.c", "    return orc_job_ended(job->state) && !orc_job_ended(job->was) && !job->told;\n",
     "    return orc_job_ended(job->state) && !orc_job_ended(job->was) && !job->told && job->idx % 3;\n"),
    ("a failure counts as a success for who needs it", ORC + "graph.c", "    return job->state == JOB(CANCELLED) ? ACCEPT(CANCELLED) : ACCEPT(FAILURE);\n", "    return ACCEPT(SUCCESS);\n"),
    # Admission.
    ("a release is skipped", ORC + "admit.c", "        if (counted) {\n", "        if (counted > 0 || (counted && job->idx % 3)) {\n"),
    ("what is admitted is not counted", ORC + "admit.c", "    hd_quota_add(&tenant->used, asks, 1);\n    tenant->used", "    tenant->used"),
    ("a limit is one too high", ORC + "admit.c", "    return hd_quota_short(&tenant->limit, &tenant->used, asks) == HD_QUOTA_DIMS;\n",
     "    struct hd_quota more = tenant->limit;\n    more.of[HD_QUOTA_JOBS]++;\n    return hd_quota_short(&more, &tenant->used, asks) == HD_QUOTA_DIMS;\n"),
    ("a project's limits are not looked at", ORC + "admit.c", "        if (part && !fits(part, &asks)) {\n", "        if (part && !fits(part, &asks) && 0) {\n"),
    ("who waits in the table is forgotten", ORC + "finish.c", "    if (orc_tenant_open(tenant) && tenant->queued > (int64_t)here) {", "    if (orc_tenant_open(tenant) && tenant->queued < 0) {"),
    # Concurrency groups.
    ("a job of a group is not killed with the lease", ORC + "publish.c", "    to->exclusive = spec->concurrency || run->plan->concurrency;\n", ""),
    ("an agent does not tell its shim that a job is of a group", AGENT + "executor/executor.c", "    job->exclusive = assignment->exclusive;\n", ""),
    ("an agent does not tell its shim of the lease", AGENT + "agent.c", "        agent->told_lease_ms = msg->lease_until_ms = agent->connection.lease_until_ms;\n",
     "        agent->told_lease_ms = agent->connection.lease_until_ms;\n"),
    ("a slot of a group is not given back", ORC + "groups.c", "    if (n)\n        HD_TRY(ORC_DO(cx, orc, groups_leave, refs, n, &gone));\n", "    (void)refs;\n"),
    ("whose turn it is hears of it by chance alone", ORC + "groups.c", "    HD_TRY(ORC_DO(cx, orc, groups_waiting, GROUPS_AT_ONCE, &groups, &n_groups));\n", "    n_groups = 0, groups = NULL;\n"),
    # Losses and sweeps.
    ("a loss counts for every incarnation", ORC + "handlers_workers.c", "            gone = orc_life_gone(lost[k], attempt->session, attempt->incarnation);\n", "            gone = hd_uuid_eq(lost[k].session, attempt->session);\n"),
    ("what no stream holds any more is not assigned again", ORC + "handlers_workers.c", "        attempt->incarnation = worker->by->incarnation;\n        orc_out_assign(out, cx, ws, attempt);\n", ""),
    ("what runs is missed by the clocks of others", ORC + "handlers_workers.c", "    if (worker->by->sent_at_ms && attempt->started_ms)\n",
     "    return worker->by->received_at_ms - attempt->changed_ms > MISSED_MS;\n    if (worker->by->sent_at_ms && attempt->started_ms)\n"),
    ("what is said again waits for the registry's clock", ORC + "handlers_workers.c", "    if (cx->now.wall_ms - attempt->changed_ms <= ASSIGN_AGAIN_MS)\n", "    if (worker->by->received_at_ms - attempt->changed_ms <= ASSIGN_AGAIN_MS)\n"),
    ("a cancel is said once", ORC + "handlers_workers.c", "    if (attempt->job->state == CANCELLING)\n        orc_out_cancel", "    if (attempt->job->state == CANCELLING && 0)\n        orc_out_cancel"),
    ("what its time has come for is left alone", ORC + "handlers_workers.c", "        orc_job_due(ws.jobs.items[i], &chance);\n", "        (void)chance;\n"),
    ("what a leader misses is not told to it", ORC + "handlers_pool.c", "    if (!lease.granted || (!lease.fresh && !request->reconcile))\n", "    if (!lease.granted || !lease.fresh)\n"),
    ("places that are free are not given back", ORC + "handlers_pool.c", "            orc_out_freed(out, cx, pool->name, placed[i], false);\n", "            (void)entry;\n"),
    # The registry and quota.
    ("an agent is not told in which incarnation it is", REG + "join.c", "    answer->incarnation = worker->incarnation;\n", ""),
    ("a session that was lost comes back as the same incarnation", REG + "join.c", "    if (!same || before == REG_NONE || before == REG_LOST)\n", "    if (!same || before == REG_NONE)\n"),
    ("a loss does not say of which incarnation", REG + "lost.c", "        session->incarnation = lost.incarnations[i];\n", ""),
    ("a loss is not written down", REG + "fleet.c", "        HD_TRY(registry_store(cx)->lose(cx, lost));\n", ""),
    ("who is silent is lost while its lease runs", REG + "liveness.c", "        if (silent_ms >= times->lease_ms + times->margin_ms) {\n", "        if (silent_ms >= 2 * times->heartbeat_ms) {\n"),
    ("a stream that is missing is not made again", REG + "heartbeat.c", "        worker->stream_ready = false;\n", ""),
    ("what a worker holds is not passed on", REG + "heartbeat.c", "    ask_reconcile(cx, held, n_held);\n", "    (void)ask_reconcile;\n"),
    ("what becomes of a worker is no change of the fleet", REG + "registry.c", "    worker->changed = worker->changed || worker->state != step.row->to;\n", ""),
    ("a grant does not say which one is newer", "services/quota/handlers.c", "        grants[i]->version = limits[i].version;\n", "        grants[i]->version = 1;\n"),
    ("a grant is told once", "services/quota/handlers.c", "    return load(cx, holder, skip, limit, ret_keys, ret_request);", "    static int told; /* NOLINT */ return load(cx, holder, skip + (told++ > 3), limit, ret_keys, ret_request);"),
    # The scheduler.
    ("for nobody a worker is kept free", "services/scheduler/reserve.c", "    if (pool->reserved || reserve_ms <= 0 || pool->unsorted)\n", "    if (pool->reserved || reserve_ms <= 0 || pool->unsorted || 1)\n"),
    # Agents.
    ("an agent starts what comes again", AGENT + "stream/stream.c", "    if (session_find(session, id))\n", "    if (session_find(session, id) && !session_find(session, id)->ended)\n"),
    ("an agent starts without a lease", AGENT + "stream/stream.c", "    bool start = may_start && session->shim_up", "    (void)may_start;\n    bool start = session->shim_up"),
    ("an agent does not look at the incarnation", AGENT + "stream/stream.c", "    else if (other)\n", "    else if (other && 0)\n"),
    ("an agent starts before it has recorded", AGENT + "agent.c", "    bool recorded = write_journal(agent);\n", "    bool recorded = true;\n"),
    ("an agent does not notice that its disk has room again", AGENT + "agent.c", "    bool probe = agent->n_works || agent->session.now.mono_ms >= agent->probe_ms;\n",
     "    bool probe = agent->n_works;\n"),
    ("an agent tells an end once", AGENT + "connection/reports.c", "    move_due(&session->sent, &session->unsent, session->now.mono_ms);\n", ""),
    # Logs.
    ("an attempt is settled before its log is stored", AGENT + "connection/logs.c", "    return (log->complete || (attempt->ended && !log->orphan)) && log->acked_frame >= log->known_frame;\n",
     "    return log->complete || (attempt->ended && !log->orphan);\n"),
    ("what was sent counts as stored", AGENT + "connection/logs.c", "    while (n < log->n_marks && log->marks[n].frame <= next_frame)\n", "    while (n < log->n_marks)\n"),
    ("what was not acknowledged is not sent again", AGENT + "connection/logs.c", "        log->sent_frame = log->acked_frame;\n        log->sent_byte = log->acked_byte;\n        memcpy", "        memcpy"),
    ("an agent that was away sends a log from its beginning", AGENT + "connection/logs.c", "        log->sent_frame = log->acked_frame = state->acked_frame;\n        log->sent_byte = log->acked_byte = state->acked_byte;\n",
     "        log->sent_frame = log->acked_frame = 0;\n        log->sent_byte = log->acked_byte = 0;\n"),
    ("an agent that was away counts frames on from where it was, and reads them from the beginning", AGENT + "connection/logs.c", "        log->sent_byte = log->acked_byte = state->acked_byte;\n", ""),
]


def try_one(build, seeds, number, mutant):
    """What was found: (applied, caught, what is said)."""
    what, path, old, new = mutant
    with open(path, encoding="utf-8") as file:
        text = file.read()
    if text.count(old) != 1:
        return False, False, "%s: what is to be changed stands there %d times" % (path, text.count(old))
    where = os.path.join(build, "%02d" % number)
    os.makedirs(where, exist_ok=True)
    source = os.path.join(where, os.path.basename(path))
    with open(source, "w", encoding="utf-8") as file:
        file.write(text.replace(old, new))
    env = os.environ
    for command in (shlex.split(env["COMPILE"]) + ["-w", "-I", os.path.dirname(path), "-c", source, "-o", where + "/mutant.o"],
                    shlex.split(env["LINK"]) + ["-o", where + "/sim"] + shlex.split(env["OBJECTS"]) + [where + "/mutant.o"] + shlex.split(env["LIBRARIES"])):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode:
            return False, False, done.stdout
    done = subprocess.run([where + "/sim", "--until-failure", str(seeds)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    found = re.search(r"^seed (\d+): (.*)$", done.stdout, re.M)
    if found:
        return True, True, "seed %s: %s" % found.groups()
    return True, done.returncode < 0, "it crashes" if done.returncode < 0 else "%d seeds pass" % seeds


def main():
    build, seeds, words = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    chosen = [(i, m) for i, m in enumerate(MUTANTS) if not words or any(word in m[0] for word in words)]
    caught = missed = 0
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for (_, mutant), (applied, good, said) in zip(chosen, pool.map(lambda each: try_one(build, seeds, *each), chosen)):
            caught, missed = caught + good, missed + (not good)
            print("%s: %s" % (mutant[0], ("caught by " if good else "NOT caught: " if applied else "does not apply: ") + said), flush=True)
    print("%d passed, %d failed" % (caught, missed))
    return missed != 0


if __name__ == "__main__":
    sys.exit(main())
