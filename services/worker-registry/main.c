// The tables stand in service.c.
#include "services/worker-registry/registry.h"

int main(int argc, char **argv) {
    return hd_service_main(&registry_def, argc, argv);
}
