// The small commands: who am I, version.
#include <stdio.h>

#include "cli/cli.h"

int cmd_whoami(struct cli *cli) {
    cJSON *reply;

    if (cli_call(cli, CLI_GET("/v1/whoami"), &reply) != HD_OK)
        return cli_failed(cli);
    if (cli->json)
        cli_print(cli, reply);
    else
        printf("%s of tenant %s, may: %s\n", j_text(reply, "subject"), j_text(reply, "tenant"),
               cli_words(cli, j_get(reply, "permissions")));
    cJSON_Delete(reply);
    return 0;
}

int cmd_version(struct cli *cli) {
    puts(cli->json ? "{\"version\":\"" HD_VERSION "\"}" : "hodei " HD_VERSION);
    return 0;
}
