// The tables stand in service.c.
#include "services/pipelines/pipelines.h"

int main(int argc, char **argv) {
    return hd_service_main(&pip_def, argc, argv);
}
