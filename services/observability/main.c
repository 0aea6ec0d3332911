// The tables stand in service.c.
#include "services/observability/observability.h"

int main(int argc, char **argv) {
    return hd_service_main(&obs_def, argc, argv);
}
