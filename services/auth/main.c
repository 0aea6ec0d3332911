// The tables stand in service.c.
#include "services/auth/auth.h"

int main(int argc, char **argv) {
    return hd_service_main(&auth_def, argc, argv);
}
