#include "services/quota/quota.h"

int main(int argc, char **argv) {
    return hd_service_main(&quota_def, argc, argv);
}
