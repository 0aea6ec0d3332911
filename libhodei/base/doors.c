#include "base/doors.h"

#include "base/names.h"

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})
#define BIT(stream) (1u << HD_STREAM_##stream)
#define API "$JS.API."
#define MAKE(stream) API "STREAM.CREATE." stream
#define CHANGE(stream) API "STREAM.UPDATE." stream
#define READ(stream, consumer)                                                                                         \
    API "CONSUMER.DURABLE.CREATE." stream "." consumer, API "CONSUMER.MSG.NEXT." stream "." consumer,                  \
        "$JS.ACK." stream "." consumer ".>"
#define ASK(service, method) HD_SUBJECT_RPC "." service "." method
#define SERVE(service) HD_SUBJECT_RPC "." service ".*"
#define INBOX(user) "_INBOX." user ".>" // its own to hear; of those whom one answers, to publish
#define OPERATOR INBOX("operator")      // who may ask everybody
#define EVENT(tenant, entity, what) HD_SUBJECT_EVENT "." tenant "." entity "." what
#define OF_EACH_STREAM(before, after)                                                                                  \
    before "EVENTS" after, before "FLOW" after, before "REPORTS" after, before "LOGS" after

const struct hd_door hd_doors[] = {
    // What services say to each other is not the API's, whatever a route might ask for.
    {"api-gateway", false, 0, 0,
     LIST(SERVE("auth"), SERVE("pipelines"), SERVE("orchestrator"), SERVE("worker-registry"), SERVE("quota"),
          SERVE("observability")),
     LIST(ASK("orchestrator", "PutVersions"), ASK("orchestrator", "PutGrants"), ASK("orchestrator", "GetUsage"),
          ASK("pipelines", "PutGrants"), ASK("pipelines", "GetUsage"), ASK("observability", "PutGrants"),
          ASK("observability", "GetUsage"), ASK("orchestrator", "LeasePool"), ASK("orchestrator", "Reconcile"),
          ASK("orchestrator", "SessionsLost"), ASK("worker-registry", "Join"), ASK("worker-registry", "Heartbeat"),
          ASK("worker-registry", "GetFleet"), ASK("quota", "GetGrants")),
     LIST(INBOX("api-gateway"))},
    {"pipelines", true, BIT(EVENTS), 0,
     LIST(OPERATOR, MAKE("EVENTS"), EVENT("*", "quota", "*"), ASK("orchestrator", "PutVersions"),
          ASK("orchestrator", "StartRun"), INBOX("api-gateway"), INBOX("quota")),
     NULL, LIST(SERVE("pipelines"), INBOX("pipelines"))},
    {"orchestrator", true, BIT(EVENTS) | BIT(FLOW) | BIT(REPORTS), BIT(EVENTS) | BIT(FLOW) | BIT(REPORTS),
     LIST(OPERATOR, MAKE("EVENTS"), CHANGE("EVENTS"), MAKE("FLOW"), CHANGE("FLOW"), MAKE("REPORTS"), CHANGE("REPORTS"),
          READ("FLOW", "orchestrator_placed"), READ("REPORTS", "orchestrator_reports"), HD_SUBJECT_READY ".*",
          HD_SUBJECT_WORK ".*", HD_SUBJECT_ACK ".*", EVENT("*", "run", "*"), EVENT("*", "job", "*"),
          EVENT("*", "quota", "*"), ASK("quota", "GetGrants"), ASK("scheduler", "ExplainJobs"), INBOX("api-gateway"),
          INBOX("pipelines"), INBOX("quota"), INBOX("scheduler"), INBOX("worker-registry")),
     NULL, LIST(SERVE("orchestrator"), INBOX("orchestrator"))},
    // One consumer a pool: their names are made at run time.
    {"scheduler", false, BIT(FLOW), 0,
     LIST(OPERATOR, MAKE("FLOW"), READ("FLOW", "*"), HD_SUBJECT_PLACED, ASK("orchestrator", "LeasePool"),
          ASK("worker-registry", "GetFleet"), INBOX("orchestrator")),
     LIST(READ("FLOW", "orchestrator_placed")),
     LIST(SERVE("scheduler"), EVENT("system", "worker", "changed"), INBOX("scheduler"))},
    // It makes WORK_<worker>, and NATS knows no wildcard within a token.
    {"worker-registry", true, 0, 0,
     LIST(OPERATOR, MAKE("*"), CHANGE("*"), API "STREAM.DELETE.*", API "CONSUMER.DURABLE.CREATE.*.*",
          EVENT("system", "worker", "changed"), ASK("orchestrator", "Reconcile"), ASK("orchestrator", "SessionsLost"),
          INBOX("api-gateway"), INBOX("scheduler"), INBOX("agent")),
     LIST(OF_EACH_STREAM(API "STREAM.CREATE.", ""), OF_EACH_STREAM(API "STREAM.UPDATE.", ""),
          OF_EACH_STREAM(API "STREAM.DELETE.", ""), OF_EACH_STREAM(API "CONSUMER.DURABLE.CREATE.", ".*")),
     LIST(SERVE("worker-registry"), INBOX("worker-registry"))},
    {"quota", true, 0, 0,
     LIST(OPERATOR, ASK("orchestrator", "PutGrants"), ASK("orchestrator", "GetUsage"), ASK("pipelines", "PutGrants"),
          ASK("pipelines", "GetUsage"), ASK("observability", "PutGrants"), ASK("observability", "GetUsage"),
          INBOX("api-gateway"), INBOX("orchestrator")),
     NULL, LIST(SERVE("quota"), INBOX("quota"))},
    {"auth", true, 0, 0, LIST(OPERATOR, INBOX("api-gateway")), NULL, LIST(SERVE("auth"), INBOX("auth"))},
    {"observability", true, BIT(LOGS) | BIT(EVENTS), BIT(LOGS),
     LIST(OPERATOR, MAKE("LOGS"), CHANGE("LOGS"), MAKE("EVENTS"), READ("LOGS", "observability_logs"),
          READ("EVENTS", "observability_events"), HD_SUBJECT_ACK ".*", EVENT("*", "quota", "*"), INBOX("api-gateway"),
          INBOX("quota")),
     NULL, LIST(SERVE("observability"), INBOX("observability"))},
    {"agent", false, 0, 0,
     LIST(ASK("worker-registry", "Join"), ASK("worker-registry", "Heartbeat"), HD_SUBJECT_REPORT ".<worker>.attempts",
          HD_SUBJECT_LOG ".<worker>.>", API "CONSUMER.MSG.NEXT.WORK_<worker>.*", "$JS.ACK.WORK_<worker>.>"),
     NULL, LIST(HD_SUBJECT_ACK ".<worker>", INBOX("agent.<worker>"))},
};
const size_t hd_doors_len = sizeof(hd_doors) / sizeof(hd_doors[0]);

const struct hd_door *hd_door_find(const char *name) {
    for (size_t i = 0; i < hd_doors_len; i++)
        if (hd_streq(hd_doors[i].name, name))
            return &hd_doors[i];
    return NULL;
}

// --- NATS ------------------------------------------------------------------------------------------------------------

static void add_subject(struct hd_buf *out, const char *subject, const char *worker) {
    static const char hole[] = "<worker>";
    const char *at = strstr(subject, hole);

    if (at && worker)
        hd_buf_addf(out, "\"%.*s%s%s\"", (int)(at - subject), subject, worker, at + strlen(hole));
    else
        hd_buf_addf(out, "\"%s\"", subject);
}

static void add_list(struct hd_buf *out, const char *what, const char *const *subjects, const char *worker) {
    hd_buf_addf(out, "%s: [", what);
    for (size_t i = 0; subjects[i]; i++) {
        hd_buf_adds(out, i ? ", " : "");
        add_subject(out, subjects[i], worker);
    }
    hd_buf_adds(out, "]");
}

void hd_door_nats(struct hd_buf *out, const struct hd_door *door, const char *worker, const char *password) {
    hd_buf_addf(out, "{ user: \"%s%s%s\", password: %s, permissions: {\n    publish: { ", door->name, worker ? "-" : "",
                worker ? worker : "", password);
    add_list(out, "allow", door->publish, worker);
    if (door->deny) {
        hd_buf_adds(out, ",\n      ");
        add_list(out, "deny", door->deny, worker);
    }
    hd_buf_adds(out, " }\n    ");
    add_list(out, "subscribe", door->subscribe, worker);
    hd_buf_adds(out, " } }\n");
}

// --- PostgreSQL ------------------------------------------------------------------------------------------------------

// Statements in which %I are names; the values of `schema` are ours.
static const char sql_before[] =
    "DO $$ BEGIN EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database()); END $$;\n"
    "REVOKE ALL ON SCHEMA public FROM PUBLIC;\n";
static const char sql_objects[] =
    "DO $$ DECLARE one record; BEGIN\n"
    "  FOR one IN SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace\n"
    "      WHERE n.nspname = ANY (ARRAY[%s]) AND c.relkind IN ('r', 'p', 'v', 'm', 'S')\n"
    "        AND pg_get_userbyid(c.relowner) <> 'hodei-' || n.nspname\n"
    "        AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.classid = 'pg_class'::regclass\n"
    "                        AND d.deptype IN ('a', 'i') AND c.relkind = 'S')\n"
    "  LOOP EXECUTE format('ALTER TABLE %%I.%%I OWNER TO %%I', one.nspname, one.relname, 'hodei-' || one.nspname); END "
    "LOOP;\n"
    "  FOR one IN SELECT n.nspname, p.oid::regprocedure AS what FROM pg_proc p JOIN pg_namespace n ON n.oid = "
    "p.pronamespace\n"
    "      WHERE n.nspname = ANY (ARRAY[%s]) AND pg_get_userbyid(p.proowner) <> 'hodei-' || n.nspname\n"
    "  LOOP EXECUTE format('ALTER ROUTINE %%s OWNER TO %%I', one.what, 'hodei-' || one.nspname); END LOOP;\n"
    "END $$;\n";

void hd_doors_sql(struct hd_buf *out, const char *const *passwords) {
    HD_AUTO_BUF struct hd_buf schemas = {0};

    hd_buf_adds(out, sql_before);
    for (size_t i = 0; i < hd_doors_len; i++) {
        const char *name = hd_doors[i].name;
        if (!hd_doors[i].schema)
            continue;
        hd_buf_addf(&schemas, "%s'%s'", schemas.len ? ", " : "", name);
        hd_buf_addf(
            out,
            "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'hodei-%s') THEN\n"
            "  CREATE ROLE \"hodei-%s\"; END IF;\n"
            "  EXECUTE format('GRANT CONNECT ON DATABASE %%I TO %%I', current_database(), 'hodei-%s'); END $$;\n"
            "ALTER ROLE \"hodei-%s\" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD %s;\n"
            "CREATE SCHEMA IF NOT EXISTS \"%s\";\n"
            "ALTER SCHEMA \"%s\" OWNER TO \"hodei-%s\";\n",
            name, name, name, name, passwords[i], name, name, name);
    }
    hd_buf_addf(out, sql_objects, schemas.data, schemas.data);
}
