// What a connection to NATS is made with.
#include "adapter/bus_nats.h"
#include "base/buf.h"
#include "base/log.h"
#include "base/uuid.h"

#define RECONNECT_FIRST_MS 100

void nats_must(natsStatus status, const char *what) {
    if (status == NATS_OK)
        return;
    hd_error("NATS: %s: %s", what, natsStatus_GetText(status));
    abort();
}

int64_t hd_bus_reconnect_ms(int attempt, int64_t max_ms) {
    int64_t pause_ms = RECONNECT_FIRST_MS;
    for (int i = 1; i < attempt && pause_ms < max_ms; i++)
        pause_ms *= 2;
    return pause_ms < max_ms ? pause_ms : max_ms;
}

// Of nats.c's reconnecting thread.
static int64_t on_reconnect_delay(natsConnection *nc, int attempts, void *closure) {
    const struct nats_bus *bus = closure;
    int64_t pause_ms = hd_bus_reconnect_ms(attempts, bus->reconnect_max_ms);
    uint32_t random;
    (void)nc;
    hd_random_bytes(&random, sizeof(random));
    return pause_ms - (int64_t)(random % (uint64_t)(pause_ms / 2 + 1));
}

// nats.c checks a certificate's name only against one that it is given, and only one for all servers: that of the first address. Servers
// of one cluster that have other names have this one besides (the chart's certificates do).
static void set_tls(natsOptions *options, const struct hd_bus_nats_def *def, const char *first) {
    const char *host = first && strstr(first, "://") ? strstr(first, "://") + 3 : first;
    char name[256];
    if (!def->ca)
        return;
    nats_must(natsOptions_SetSecure(options, true), "TLS");
    if (natsOptions_LoadCATrustedCertificates(options, def->ca) != NATS_OK)
        hd_error("NATS: nats-ca: %s has no certificate in PEM form, or cannot be read; nothing is trusted", def->ca);
    const char *at = host ? strchr(host, '@') : NULL;
    hd_strlcpy(name, at ? at + 1 : host ? host : "localhost", sizeof(name));
    char *end = name[0] == '[' ? strchr(name, ']') : strchr(name, ':');
    if (end)
        *end = '\0';
    nats_must(natsOptions_SetExpectedHostname(options, name + (name[0] == '[')), "TLS");
}

natsOptions *nats_options(const struct hd_bus_nats_def *def, struct nats_bus *bus) {
    natsOptions *options = NULL;
    char urls[2048];
    const char *list[16];
    int n = 0;
    snprintf(urls, sizeof(urls), "%s", def->urls);
    for (char *save = NULL, *url = strtok_r(urls, ", ", &save); url && n < 16; url = strtok_r(NULL, ", ", &save))
        list[n++] = url;
    nats_must(natsOptions_Create(&options), "options");
    if (n && natsOptions_SetServers(options, list, n) != NATS_OK)
        hd_error("NATS: \"%s\" is no list of addresses", def->urls);
    set_tls(options, def, n ? list[0] : NULL);
    nats_must(natsOptions_SetName(options, def->name), "name");
    if (def->user)
        nats_must(natsOptions_SetUserInfo(options, def->user, def->password ? def->password : ""), "user");
    if (def->inbox)
        nats_must(natsOptions_SetCustomInboxPrefix(options, def->inbox), "inbox");
    nats_must(natsOptions_SetSendAsap(options, true), "send");
    nats_must(natsOptions_UseGlobalMessageDelivery(options, true), "delivery");
    nats_must(natsOptions_SetMaxReconnect(options, -1), "reconnect");
    nats_must(natsOptions_SetReconnectWait(options, RECONNECT_FIRST_MS), "reconnect");
    nats_must(natsOptions_SetReconnectJitter(options, 150, 150), "reconnect");
    if (def->reconnect_max_ms)
        nats_must(natsOptions_SetCustomReconnectDelay(options, on_reconnect_delay, bus), "reconnect");
    nats_must(natsOptions_SetTimeout(options, 2000), "timeout");
    nats_must(natsOptions_SetPingInterval(options, 5000), "ping");
    nats_must(natsOptions_SetMaxPingsOut(options, 2), "ping");
    return options;
}
