// The scheduler's process; its tables stand in service.c, where tests link them too.
#include "services/scheduler/scheduler.h"

int main(int argc, char **argv) {
    return hd_service_main(&sch_def, argc, argv);
}
