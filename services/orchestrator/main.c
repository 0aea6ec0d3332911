// The orchestrator. Its tables (requests, feeds, answers, timers, settings, metrics) stand in service.c, where tests link them too.
#include "services/orchestrator/orchestrator.h"

int main(int argc, char **argv) {
    return hd_service_main(&orc_def, argc, argv);
}
