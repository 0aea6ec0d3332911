#include "cli/cli.h"

#define N(table) (sizeof(table) / sizeof((table)[0]))
#define OPTIONS(table) .options = (table), .n_options = N(table)

const struct cli_option cli_global_options[] = {
    {"output", "text|json|yaml|name", "the answer of the API, or the names in it alone", 'o'},
    {"server", "URL", "address of the platform (HODEI_SERVER; default http://127.0.0.1:8080)"},
    {"token-file", "FILE", "file with the token (HODEI_TOKEN holds the token itself)"},
    {"cacert", "FILE", "who signs the server's certificate, in PEM form (HODEI_CACERT; default: the system's)"},
    {"tenant", "NAME",
     "the tenant that is meant: of the user who logs in; of a request, for administrators (HODEI_TENANT)"},
    {"help", NULL, "this text", 'h'},
};
const size_t cli_global_options_len = N(cli_global_options);

static const struct cli_option apply_options[] = {
    {"dry-run", NULL, "say what is wrong with it, and change nothing"},
    {"project", "NAME", "where a new pipeline is put; default: default"},
};
static const struct cli_option pipeline_list_options[] = {
    {"project", "NAME", "only those in it"},
};
static const struct cli_option part_options[] = {
    {"project", "NAME", "in this project"},
    {"pipeline", "NAME", "for this pipeline"},
};
static const struct cli_option get_options[] = {
    {"version", "N", "an older version; default: the newest"},
};
static const struct cli_option diff_options[] = {
    {"file", "FILE|-", "compare with this file: with the newest version, or with FROM", 'f'},
};
static const struct cli_option render_options[] = {
    {"input", "NAME=VALUE", "input of the pipeline; may be given again", 'i'},
    {"job", "NAME", "only that job"},
};
static const struct cli_option schedule_list_options[] = {
    {"pipeline", "NAME", "only its schedules"},
};
static const struct cli_option pause_options[] = {
    {"reason", "TEXT", "for those who find it paused"},
};
static const struct cli_option start_options[] = {
    {"version", "N", "an older version; default: the newest"},
    {"env", "NAME=VALUE", "variable for every job; may be given again", 'e'},
    {"input", "NAME=VALUE", "input of the pipeline; may be given again", 'i'},
    {"watch", NULL, "follow it; the exit status is 0 only if it succeeds", 'w'},
    {"logs", NULL, "with --watch: show the log too"},
    {"idempotency-key", "KEY", "the same key gives the same run, however often it is sent"},
};
static const struct cli_option watch_options[] = {
    {"logs", NULL, "show the log too"},
};
static const struct cli_option run_list_options[] = {
    {"pipeline", "NAME", "only its runs"},
    {"project", "NAME", "only runs of its pipelines"},
    {"state", "STATE[,STATE…]", "only running, cancelling, succeeded, failed or cancelled ones"},
    {"since", "DURATION", "only those made that long ago or later, for example 24h"},
    {"until", "DURATION", "only those made longer ago"},
    {"limit", "N", "how many, newest first; default 50"},
};
static const struct cli_option logs_options[] = {
    {"follow", NULL, "go on until the run has ended and its log is whole", 'f'},
    {"job", "NAME", "only that job, without its name before each line"},
};
static const struct cli_option quota_show_options[] = {
    {"project", "NAME", "of this project, within what the tenant may"},
};
static const struct cli_option quota_options[] = {
    {"project", "NAME", "of this project, within what the tenant may; 0 jobs stop it"},
    {"jobs", "N", "jobs that may be ready or running at once"},
    {"cpu", "CPUS|none", "CPUs that they may ask for together: 16, 500m"},
    {"memory", "BYTES|none", "memory that they may ask for together: 64Gi"},
    {"gpu", "N|none", "GPUs, likewise"},
    {"queued-jobs", "N|none", "jobs that wait; a run with more is refused"},
    {"runs-day", "N|none", "runs a day, UTC; one more is refused"},
    {"job-minutes-month", "N|none", "minutes of jobs a month, UTC; then starts are refused"},
    {"pipelines", "N|none", "pipelines that are not deleted; one more is refused"},
    {"log-bytes-day", "BYTES|none", "what jobs may write a day, UTC; more is not kept, and the log says so"},
    {"borrow", "yes|no", "whether it may use what other tenants leave of theirs, as long as they do"},
    {"weight", "N", "share of busy workers, against other tenants: 1 to 1000"},
};
static const struct cli_option worker_options[] = {
    {"pool", "NAME", "only that pool"},
    {"state", "STATE[,STATE…]", "only online, suspect or lost ones"},
};
static const struct cli_option steer_worker_options[] = {
    {"reason", "TEXT", "why, for those who look at the worker later"},
};
static const struct cli_option drain_options[] = {
    {"reason", "TEXT", "why, for those who look at the worker later"},
    {"wait", NULL, "until it is drained", 'w'},
};
static const struct cli_option reason_options[] = {
    {"reason", "TEXT", "why, for those who look at the run later"},
};
static const struct cli_option rerun_options[] = {
    {"failed", NULL, "only what did not succeed, and what comes after it"},
    {"from-job", "NAME", "only this job, and what comes after it"},
    {"reason", "TEXT", "why, for those who look at the run later"},
};
static const struct cli_option user_create_options[] = {
    {"role", "NAME", "what it may do; may be given again; none that allows what you may not", 'r'},
};
static const struct cli_option replay_options[] = {
    {"postgres", "CONNINFO", "a superuser's connection string, as psql takes it (HODEI_POSTGRES)"},
    {"nats", "URL", "addresses of nats-server, separated by commas; default nats://127.0.0.1:4222"},
    {"nats-user", "NAME", "its operator"},
    {"nats-password-file", "FILE", "whose first line is the operator's password"},
    {"nats-ca", "FILE", "PEM file of who signs nats-server's certificate: TLS"},
};
static const struct cli_option restore_options[] = {
    {"postgres", "CONNINFO", "how a superuser reaches PostgreSQL, as psql takes it (HODEI_POSTGRES)"},
    {"replace", NULL, "even where there are runs: they are given up"},
};
static const struct cli_option admin_options[] = {
    {"postgres", "CONNINFO", "a superuser's connection string, as psql takes it (HODEI_POSTGRES)"},
};
static const struct cli_option login_options[] = {
    {"change-password", NULL, "ask for a new password too, and end all other sessions"},
};
static const struct cli_option dev_options[] = {
    {"data", "DIR", "where everything is kept (default ~/.local/share/hodei; as root /var/lib/hodei)"},
    {"port", "N", "of the API; default 8080, or the next free one"},
    {"agents", "N", "workers to start, 0..32; default 1"},
    {"slots", "N", "jobs at once on each of them; default: its own choice"},
    {"tls", NULL, "TLS everywhere, with a certificate of an own CA: tls/ca.crt in the data folder"},
    {"replicas", "N", "of each service, 1..8; default 1. The ports of further gateways stand in dev.json"},
    {"restore", "FILE", "of `hodei admin backup`: begin with that"},
    {"replace", NULL, "with --restore: even where there are runs, which are given up"},
    {"nats-servers", "N", "1, 3 or 5: a cluster that keeps streams N times; default 1"},
    {"postgres", "CONNINFO", "an existing PostgreSQL 15, as its superuser; default: a private one in the folder"},
};

static const struct cli_option description_options[] = {
    {"description", "TEXT", "what it is for"},
};
static const struct cli_option binding_list_options[] = {
    {"principal", "WHO", "only of user:NAME, group:NAME or service-account:NAME"},
};
static const struct cli_option group_list_options[] = {
    {"group", "NAME", "only this one"},
};
static const struct cli_option token_list_options[] = {
    {"subject", "WHO", "only of user:NAME or service-account:NAME"},
};
static const struct cli_option token_create_options[] = {
    {"for", "service-account:NAME", "whom it stands for; default: yourself"},
    {"expires-in", "DURATION", "90d is the default, a year the most"},
};
static const struct cli_option token_rotate_options[] = {
    {"overlap", "DURATION", "so long the old one goes on; default: it ends at once"},
};
static const struct cli_option tenant_suspend_options[] = {
    {"reason", "TEXT", "for those who are refused"},
};
static const struct cli_option tenant_delete_options[] = {
    {"reason", "TEXT", "for those who are refused"},
    {"grace", "DURATION", "so long it can be undeleted; 7d is the default"},
};
static const struct cli_option audit_options[] = {
    {"actor", "WHO", "only by this subject, for example user:NAME"},
    {"action", "NAME", "only this action, for example CreateToken"},
    {"target", "TEXT", "only what begins with this"},
    {"outcome", "done|refused", "only these"},
    {"since", "DURATION", "only what is younger, for example 24h"},
    {"jsonl", NULL, "everything, one JSON object a line"},
};

const struct cli_command cli_commands[] = {
    {"dev", "", "run the whole platform on this machine, in the foreground",
     "hodei dev\nhodei dev --data /tmp/hodei --port 9000 --agents 3", OPTIONS(dev_options), 0, 0, cmd_dev},
    {"pipeline apply", "FILE|-", "make a pipeline, or a new version of it",
     "hodei pipeline apply hodei.yml\nhodei pipeline apply --dry-run - <hodei.yml", OPTIONS(apply_options), 1, 1,
     cmd_pipeline_apply},
    {"pipeline list", "", "list pipelines", "hodei pipeline list\nhodei pipeline list --project web -o json",
     OPTIONS(pipeline_list_options), 0, 0, cmd_pipeline_list},
    {"pipeline get", "NAME", "print the YAML of a pipeline",
     "hodei pipeline get build >build.yml\nhodei pipeline get build --version 2", OPTIONS(get_options), 1, 1,
     cmd_pipeline_get},
    {"pipeline delete", "NAME", "delete a pipeline; its runs stay", "hodei pipeline delete build", NULL, 0, 1, 1,
     cmd_pipeline_delete},
    {"pipeline versions", "NAME", "list the versions of a pipeline, newest first", "hodei pipeline versions build",
     NULL, 0, 1, 1, cmd_pipeline_versions},
    {"pipeline diff", "NAME [FROM [TO]]", "show what has changed between two versions, or in a file",
     "hodei pipeline diff build\nhodei pipeline diff build 2 5\nhodei pipeline diff build --file hodei.yml",
     OPTIONS(diff_options), 1, 3, cmd_pipeline_diff},
    {"schedule list", "", "list what starts runs by itself, and when next", "hodei schedule list --pipeline build",
     OPTIONS(schedule_list_options), 0, 0, cmd_schedule_list},
    {"schedule pause", "ID", "start no runs until it is resumed",
     "hodei schedule pause 019a… --reason \"until the disk is bigger\"", OPTIONS(pause_options), 1, 1,
     cmd_schedule_pause},
    {"schedule resume", "ID", "start runs again, from the next time on", "hodei schedule resume 019a…", NULL, 0, 1, 1,
     cmd_schedule_resume},
    {"run start", "PIPELINE", "start a run and print its id",
     "hodei run start build\nhodei run start build --env TARGET=debug --watch", OPTIONS(start_options), 1, 1,
     cmd_run_start},
    {"run list", "", "list runs, newest first",
     "hodei run list --pipeline build\nhodei run list --state failed --since 24h", OPTIONS(run_list_options), 0, 0,
     cmd_run_list},
    {"run get", "ID", "show a run and its jobs", "hodei run get 019a…", NULL, 0, 1, 1, cmd_run_get},
    {"run watch", "ID", "follow a run; exit status 0 only if it succeeds", "hodei run watch 019a… --logs",
     OPTIONS(watch_options), 1, 1, cmd_run_watch},
    {"run cancel", "ID", "stop a run; said again, the jobs of finally too", "hodei run cancel 019a…", NULL, 0, 1, 1,
     cmd_run_cancel},
    {"run pause", "ID", "start nothing more of a run until it is resumed", "hodei run pause 019a… --reason lunch",
     OPTIONS(reason_options), 1, 1, cmd_run_pause},
    {"run resume", "ID", "go on with a run that is paused", "hodei run resume 019a…", OPTIONS(reason_options), 1, 1,
     cmd_run_resume},
    {"run rerun", "ID", "make a new run of one that has ended, and print its id",
     "hodei run rerun 019a… --failed\nhodei run rerun 019a… --from-job deploy", OPTIONS(rerun_options), 1, 1,
     cmd_run_rerun},
    {"run priority", "ID N", "change the priority of what has not started: -100 to 100", "hodei run priority 019a… 50",
     OPTIONS(reason_options), 2, 2, cmd_run_priority},
    {"job cancel", "RUN JOB", "stop one job", "hodei job cancel 019a… test", OPTIONS(reason_options), 2, 2,
     cmd_job_cancel},
    {"job retry", "RUN JOB", "try a job that failed again; of a run that has ended, in a new run",
     "hodei job retry 019a… test", OPTIONS(reason_options), 2, 2, cmd_job_retry},
    {"job done", "RUN JOB", "mark a job that failed as done and go on",
     "hodei job done 019a… test --reason \"by hand\"", OPTIONS(reason_options), 2, 2, cmd_job_done},
    {"job skip", "RUN JOB", "skip a job that has not started", "hodei job skip 019a… deploy", OPTIONS(reason_options),
     2, 2, cmd_job_skip},
    {"job approve", "RUN JOB", "let a job start that waits for approval", "hodei job approve 019a… deploy",
     OPTIONS(reason_options), 2, 2, cmd_job_approve},
    {"job reject", "RUN JOB", "fail a job that waits for approval",
     "hodei job reject 019a… deploy --reason \"not today\"", OPTIONS(reason_options), 2, 2, cmd_job_reject},
    {"explain", "RUN JOB", "say why a job waits, and what to change", "hodei explain 019a… deploy", NULL, 0, 2, 2,
     cmd_explain},
    {"lint", "FILE|-...", "check definitions, without a server", "hodei lint hodei.yml", NULL, 0, 1, 1000, cmd_lint},
    {"render", "FILE|-", "print the plan of a run, without a server",
     "hodei render hodei.yml\nhodei render hodei.yml --input target=debug --job test -o json", OPTIONS(render_options),
     1, 1, cmd_render},
    {"schema", "", "print the JSON Schema of the pipeline language, for editors", "hodei schema >hodei.schema.json",
     NULL, 0, 0, 0, cmd_schema},
    {"logs", "RUN", "print the log of a run", "hodei logs 019a…\nhodei logs -f 019a… --job test", OPTIONS(logs_options),
     1, 1, cmd_logs},
    {"worker list", "", "list workers", "hodei worker list --pool default\nhodei worker list --state suspect,lost",
     OPTIONS(worker_options), 0, 0, cmd_worker_list},
    {"worker get", "NAME", "show a worker: what it has, what uses it, what keeps work away", "hodei worker get build-3",
     NULL, 0, 1, 1, cmd_worker_get},
    {"worker cordon", "NAME", "place nothing new on a worker; its jobs run on",
     "hodei worker cordon build-3 --reason \"new kernel\"", OPTIONS(steer_worker_options), 1, 1, cmd_worker_cordon},
    {"worker drain", "NAME", "the same, until its jobs have ended: then it is drained and can be switched off",
     "hodei worker drain build-3 --reason \"new disks\" --wait", OPTIONS(drain_options), 1, 1, cmd_worker_drain},
    {"worker uncordon", "NAME", "let a worker take jobs again", "hodei worker uncordon build-3",
     OPTIONS(steer_worker_options), 1, 1, cmd_worker_uncordon},
    {"quota show", "", "show what the tenant, or a project, may use and uses",
     "hodei quota show\nhodei quota show --project web", OPTIONS(quota_show_options), 0, 0, cmd_quota_show},
    {"quota get", "", "the same", "hodei quota get", OPTIONS(quota_show_options), 0, 0, cmd_quota_show},
    {"quota set", "[N]",
     "set what the tenant, or a project, may use; N: jobs at once; what is not named stays as it is",
     "hodei quota set 50\nhodei quota set --cpu 64 --memory 256Gi --runs-day none\n"
     "hodei quota set --project web --jobs 10",
     OPTIONS(quota_options), 0, 1, cmd_quota_set},
    {"login", "USER", "log in; the password comes from the terminal, or the first line of standard input",
     "hodei login ane --server https://hodei.example\nhodei login ci --tenant acme <password-file\n"
     "hodei login ane --change-password",
     OPTIONS(login_options), 1, 1, cmd_login},
    {"logout", "", "end the session", "hodei logout", NULL, 0, 0, 0, cmd_logout},
    {"session list", "", "list your sessions", "hodei session list", NULL, 0, 0, 0, cmd_session_list},
    {"session end", "ID", "end one of your sessions", "hodei session end 019a…", NULL, 0, 1, 1, cmd_session_end},
    {"user create", "NAME", "make a user; its password comes as with login", "hodei user create ane --role developer",
     OPTIONS(user_create_options), 1, 1, cmd_user_create},
    {"user list", "", "list users", "hodei user list", NULL, 0, 0, 0, cmd_user_list},
    {"user disable", "NAME", "end the sessions of a user and let it not log in", "hodei user disable ane", NULL, 0, 1,
     1, cmd_user_disable},
    {"user enable", "NAME", "let a user log in again", "hodei user enable ane", NULL, 0, 1, 1, cmd_user_enable},
    {"user set-password", "NAME", "set the password of a user; its sessions end", "hodei user set-password ane", NULL,
     0, 1, 1, cmd_user_set_password},
    {"user delete", "NAME", "delete a user and its sessions", "hodei user delete ane", NULL, 0, 1, 1, cmd_user_delete},
    {"auth keys list", "", "list the keys that sign access tokens", "hodei auth keys list", NULL, 0, 0, 0,
     cmd_auth_keys_list},
    {"auth keys rotate", "", "make a new key for access tokens; nobody is logged out", "hodei auth keys rotate", NULL,
     0, 0, 0, cmd_auth_keys_rotate},
    {"access nats", "WORKER...", "print nats-server's users, for an installation",
     "hodei access nats build-1 build-2 >authorization.conf", NULL, 0, 0, 10000, cmd_access_nats},
    {"access postgres", "", "print the SQL of PostgreSQL's roles, for an installation",
     "hodei access postgres >roles.sql", NULL, 0, 0, 0, cmd_access_postgres},
    {"admin doctor", "",
     "look for what must not be, in the databases of an installation; exit status 0: there is nothing, 1: there is",
     "hodei admin doctor --postgres 'host=db user=postgres dbname=hodei'", OPTIONS(admin_options), 0, 0,
     cmd_admin_doctor},
    {"admin dead list", "", "list dead letters: messages that no service could make anything of",
     "hodei admin dead list", OPTIONS(admin_options), 0, 0, cmd_admin_dead_list},
    {"admin dead show", "SERVICE ID", "show a dead letter, its data as base64", "hodei admin dead show orchestrator 7",
     OPTIONS(admin_options), 2, 2, cmd_admin_dead_show},
    {"admin dead drop", "SERVICE ID", "delete a dead letter", "hodei admin dead drop orchestrator 7",
     OPTIONS(admin_options), 2, 2, cmd_admin_dead_drop},
    {"whoami", "", "show whom the token stands for", "hodei whoami", NULL, 0, 0, 0, cmd_whoami},
    {"auth can-i", "PERMISSION", "say whether you may do something; exit status 0 for yes, 1 for no",
     "hodei auth can-i run.start && hodei run start build\nhodei auth can-i run.start --pipeline build",
     OPTIONS(part_options), 1, 1, cmd_auth_can_i},
    {"auth permissions", "", "list what can be allowed, and the built-in roles that allow it", "hodei auth permissions",
     NULL, 0, 0, 0, cmd_auth_permissions},
    {"role list", "", "list roles and their permissions", "hodei role list", NULL, 0, 0, 0, cmd_role_list},
    {"role set", "NAME PERMISSION...", "make a role, or give it other permissions",
     "hodei role set deployer run.read run.start log.read", OPTIONS(description_options), 2, 64, cmd_role_set},
    {"role delete", "NAME", "delete a role that nobody has", "hodei role delete deployer", NULL, 0, 1, 1,
     cmd_role_delete},
    {"binding list", "", "list who has which role", "hodei binding list --principal user:mary",
     OPTIONS(binding_list_options), 0, 0, cmd_binding_list},
    {"binding create", "WHO ROLE",
     "give a role to user:NAME, group:NAME or service-account:NAME, in the tenant or in a part of it",
     "hodei binding create user:mary developer\nhodei binding create group:web operator --project web",
     OPTIONS(part_options), 2, 2, cmd_binding_create},
    {"binding delete", "ID", "take a role away", "hodei binding delete 019a…", NULL, 0, 1, 1, cmd_binding_delete},
    {"group list", "", "list groups and their members", "hodei group list", OPTIONS(group_list_options), 0, 0,
     cmd_group_list},
    {"group add", "GROUP WHO", "put user:NAME or service-account:NAME into a group",
     "hodei group add backend user:mary", NULL, 0, 2, 2, cmd_group_add},
    {"group remove", "GROUP WHO", "take somebody out of a group", "hodei group remove backend user:mary", NULL, 0, 2, 2,
     cmd_group_remove},
    {"service-account list", "", "list service accounts", "hodei service-account list", NULL, 0, 0, 0,
     cmd_service_account_list},
    {"service-account create", "NAME", "make a service account, for a deployment or a bot",
     "hodei service-account create ci --description \"builds\"", OPTIONS(description_options), 1, 1,
     cmd_service_account_create},
    {"service-account delete", "NAME", "delete a service account and revoke its tokens",
     "hodei service-account delete ci", NULL, 0, 1, 1, cmd_service_account_delete},
    {"token list", "", "list tokens: all but the tokens themselves", "hodei token list", OPTIONS(token_list_options), 0,
     0, cmd_token_list},
    {"token create", "NAME [PERMISSION...]", "make a token and print it, this once; without permissions: all of yours",
     "hodei token create deploy run.start run.read --for service-account:ci --expires-in 30d",
     OPTIONS(token_create_options), 1, 64, cmd_token_create},
    {"token rotate", "ID", "make the successor of a token and print it", "hodei token rotate 019a… --overlap 24h",
     OPTIONS(token_rotate_options), 1, 1, cmd_token_rotate},
    {"token revoke", "ID", "end a token; within 2 s it works nowhere", "hodei token revoke 019a…", NULL, 0, 1, 1,
     cmd_token_revoke},
    {"admin dead replay", "SERVICE ID", "say a dead letter again, once its cause is mended",
     "hodei admin dead replay orchestrator 7 --nats nats://nats:4222 --nats-user operator --nats-password-file f",
     OPTIONS(replay_options), 2, 2, cmd_admin_dead_replay},
    {"admin backup", "FILE|-", "save all that the platform knows, as of one moment, while it runs",
     "hodei admin backup hodei.backup\nhodei admin backup - | ssh vault 'cat >hodei.backup'", OPTIONS(admin_options), 1,
     1, cmd_admin_backup},
    {"admin restore", "FILE|-", "put a backup in the place of what is there; services must be stopped",
     "hodei admin restore hodei.backup\nhodei dev --restore hodei.backup --replace", OPTIONS(restore_options), 1, 1,
     cmd_admin_restore},
    {"tenant list", "", "list tenants (administrators of the platform)", "hodei tenant list", NULL, 0, 0, 0,
     cmd_tenant_list},
    {"tenant create", "NAME", "make a tenant", "hodei tenant create acme", NULL, 0, 1, 1, cmd_tenant_create},
    {"tenant suspend", "NAME", "refuse its requests; its runs stay", "hodei tenant suspend acme --reason \"not paid\"",
     OPTIONS(tenant_suspend_options), 1, 1, cmd_tenant_suspend},
    {"tenant resume", "NAME", "let a suspended tenant go on", "hodei tenant resume acme", NULL, 0, 1, 1,
     cmd_tenant_resume},
    {"tenant delete", "NAME", "delete a tenant after a grace", "hodei tenant delete acme --grace 7d",
     OPTIONS(tenant_delete_options), 1, 1, cmd_tenant_delete},
    {"tenant undelete", "NAME", "bring a tenant back before the grace is over", "hodei tenant undelete acme", NULL, 0,
     1, 1, cmd_tenant_undelete},
    {"audit", "", "show what was done and refused, newest first",
     "hodei audit --outcome refused --since 24h\nhodei audit --jsonl >audit.jsonl", OPTIONS(audit_options), 0, 0,
     cmd_audit},
    {"completion bash", "", "print what makes bash complete commands and options",
     "source <(hodei completion bash)\nhodei completion bash >/etc/bash_completion.d/hodei", NULL, 0, 0, 0,
     cmd_completion_bash},
    {"completion zsh", "", "the same for zsh", "hodei completion zsh >\"${fpath[1]}/_hodei\"", NULL, 0, 0, 0,
     cmd_completion_zsh},
    {"completion fish", "", "the same for fish", "hodei completion fish >~/.config/fish/completions/hodei.fish", NULL,
     0, 0, 0, cmd_completion_fish},
    {"completion words", "[WORD…]", "what may stand in the place of the last word; what the shells ask",
     "hodei completion words :run :st", NULL, 0, 0, 1000, cmd_completion_words},
    {"version", "", "print the version", "hodei version", NULL, 0, 0, 0, cmd_version},
};
const size_t cli_commands_len = N(cli_commands);
