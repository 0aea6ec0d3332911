#include "services/auth/password.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "base/buf.h"
#include "base/uuid.h"

#define THREADS_MAX 16
#define KEEP_MS 30000 // an answer that nobody fetches; longer than any request waits
#define PREFIX_MAX 64

enum slot_state { SLOT_FREE, SLOT_QUEUED, SLOT_RUNNING, SLOT_DONE };
struct slot {
    enum slot_state state;
    uint8_t question[32];
    char *password; // until it is derived
    char prefix[PREFIX_MAX];
    bool known, good;
    uint64_t number; // of arrival
    int64_t ready_mono_ms, drop_mono_ms;
    struct auth_password answer;
};
struct auth_pool {
    pthread_mutex_t lock; // of all below; held for a look at the slots, never while deriving
    pthread_cond_t wake;
    struct slot slots[AUTH_SLOTS];
    uint64_t last;
    bool stopping;
    pthread_t threads[THREADS_MAX];
    int n_threads, fd;
    uint8_t secret[32]; // of this process: questions are remembered by a keyed digest
};

static bool scrypt(const char *password, struct auth_password *answer) {
    uint64_t n = UINT64_C(1) << answer->cost.log2_n, r = (uint64_t)answer->cost.r, p = (uint64_t)answer->cost.p;

    return EVP_PBE_scrypt(password, strlen(password), answer->salt, AUTH_SALT_BYTES, n, r, p,
                          128 * r * (n + p + 4) + (UINT64_C(1) << 20), answer->hash, AUTH_PASSWORD_HASH_BYTES) == 1;
}

static struct slot *next_queued(struct auth_pool *pool) {
    struct slot *best = NULL;

    for (size_t i = 0; i < AUTH_SLOTS; i++) {
        struct slot *slot = &pool->slots[i];
        if (slot->state != SLOT_QUEUED)
            continue;
        if (!best || slot->known > best->known || (slot->known == best->known && slot->number < best->number))
            best = slot;
    }
    return best;
}

static void forget_password(struct slot *slot) {
    if (slot->password)
        OPENSSL_clear_free(slot->password, strlen(slot->password));
    slot->password = NULL;
}

static void *work(void *arg) {
    struct auth_pool *pool = arg;
    const uint64_t one = 1;

    pthread_mutex_lock(&pool->lock);
    while (!pool->stopping) {
        struct slot *slot = next_queued(pool);
        if (!slot) {
            pthread_cond_wait(&pool->wake, &pool->lock);
            continue;
        }
        slot->state = SLOT_RUNNING; // it stays this thread's until it is done
        struct auth_password answer = slot->answer;
        pthread_mutex_unlock(&pool->lock);
        bool good = scrypt(slot->password, &answer);
        pthread_mutex_lock(&pool->lock);
        forget_password(slot);
        slot->answer = answer;
        slot->good = good;
        slot->state = SLOT_DONE;
        if (write(pool->fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
            abort();
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

enum hd_status auth_pool_new(int threads, struct hd_err *err, struct auth_pool **ret) {
    struct auth_pool *pool = calloc(1, sizeof(*pool));

    if (!pool)
        abort();
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    hd_random_bytes(pool->secret, sizeof(pool->secret));
    pool->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    for (int i = 0; i < threads && i < THREADS_MAX && pool->fd >= 0; i++) {
        if (pthread_create(&pool->threads[pool->n_threads], NULL, work, pool) != 0)
            break;
        pthread_setname_np(pool->threads[pool->n_threads++], "password");
    }
    if (pool->n_threads == 0) {
        auth_pool_free(pool);
        return hd_err_set(err, HD_UNAVAILABLE, "no thread for passwords could be started");
    }
    *ret = pool;
    return HD_OK;
}

void auth_pool_free(struct auth_pool *pool) {
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (int i = 0; i < pool->n_threads; i++)
        pthread_join(pool->threads[i], NULL);
    for (size_t i = 0; i < AUTH_SLOTS; i++)
        forget_password(&pool->slots[i]);
    if (pool->fd >= 0)
        close(pool->fd);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    OPENSSL_clear_free(pool, sizeof(*pool));
}

int auth_pool_fd(const struct auth_pool *pool) {
    return pool->fd;
}

void auth_pool_seen(struct auth_pool *pool) {
    uint64_t count;

    while (read(pool->fd, &count, sizeof(count)) == (ssize_t)sizeof(count))
        ;
}

static void question_of(const struct auth_pool *pool, const struct auth_derive *ask, uint8_t ret[32]) {
    const char *const texts[] = {ask->purpose, ask->tenant, ask->name, ask->prefix, ask->password};
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    bool done = md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1 &&
                EVP_DigestUpdate(md, pool->secret, sizeof(pool->secret)) == 1 &&
                EVP_DigestUpdate(md, &ask->cost, sizeof(ask->cost)) == 1 &&
                EVP_DigestUpdate(md, ask->salt, ask->salt ? AUTH_SALT_BYTES : 0) == 1;

    for (size_t i = 0; done && i < sizeof(texts) / sizeof(texts[0]); i++)
        done = EVP_DigestUpdate(md, texts[i], strlen(texts[i]) + 1) == 1; // the NUL keeps them apart
    if (!done || EVP_DigestFinal_ex(md, ret, NULL) != 1)
        abort();
    EVP_MD_CTX_free(md);
}

static void drop_old(struct auth_pool *pool, int64_t now_mono_ms) {
    for (size_t i = 0; i < AUTH_SLOTS; i++) {
        struct slot *slot = &pool->slots[i];
        if (slot->state == SLOT_DONE && slot->drop_mono_ms <= now_mono_ms)
            OPENSSL_cleanse(slot, sizeof(*slot)); // all zero: free
    }
}

// An answer that has been fetched only waits to be dropped: it gives way.
static bool is_under_way(const struct slot *slot, int64_t now_mono_ms) {
    return slot->state != SLOT_FREE && (slot->state != SLOT_DONE || slot->ready_mono_ms > now_mono_ms);
}

static struct slot *room(struct auth_pool *pool, const struct auth_derive *ask, int64_t now_mono_ms) {
    struct slot *free_slot = NULL;
    unsigned strangers = 0, here = 0;

    for (size_t i = 0; i < AUTH_SLOTS; i++) {
        struct slot *slot = &pool->slots[i];
        if (slot->state == SLOT_FREE ||
            (!is_under_way(slot, now_mono_ms) &&
             (!free_slot || (free_slot->state != SLOT_FREE && slot->drop_mono_ms < free_slot->drop_mono_ms))))
            free_slot = slot;
        if (!is_under_way(slot, now_mono_ms))
            continue;
        strangers += !slot->known;
        here += hd_streq(slot->prefix, ask->prefix);
    }
    bool crowded =
        ask->known ? here >= 2 * AUTH_SLOTS_PREFIX : strangers >= AUTH_SLOTS_STRANGERS || here >= AUTH_SLOTS_PREFIX;
    return crowded ? NULL : free_slot;
}

static enum auth_derived put(struct auth_pool *pool, const struct auth_derive *ask, const uint8_t question[32],
                             int64_t now_mono_ms) {
    struct slot *slot = room(pool, ask, now_mono_ms);

    if (!slot)
        return AUTH_DERIVE_FULL;
    *slot = (struct slot){.state = SLOT_QUEUED,
                          .password = OPENSSL_strdup(ask->password),
                          .known = ask->known,
                          .number = ++pool->last,
                          .ready_mono_ms = now_mono_ms + ask->delay_ms,
                          .drop_mono_ms = now_mono_ms + ask->delay_ms + KEEP_MS,
                          .answer = {.cost = ask->cost}};
    if (!slot->password)
        abort();
    memcpy(slot->question, question, sizeof(slot->question));
    hd_strlcpy(slot->prefix, ask->prefix, sizeof(slot->prefix));
    if (ask->salt)
        memcpy(slot->answer.salt, ask->salt, AUTH_SALT_BYTES);
    else
        hd_random_bytes(slot->answer.salt, AUTH_SALT_BYTES);
    pthread_cond_signal(&pool->wake);
    return AUTH_DERIVING;
}

static enum auth_derived look(struct slot *slot, int64_t now_mono_ms, struct auth_password *ret) {
    if (slot->state != SLOT_DONE || slot->ready_mono_ms > now_mono_ms)
        return AUTH_DERIVING;
    if (!slot->good) // out of memory: as if there had been no room
        return AUTH_DERIVE_FULL;
    *ret = slot->answer;
    slot->drop_mono_ms = now_mono_ms + 1; // a batch that is run again has the same time; the next login derives anew
    return AUTH_DERIVED;
}

enum auth_derived auth_pool_derive(struct auth_pool *pool, const struct auth_derive *ask, int64_t now_mono_ms,
                                   struct auth_password *ret) {
    uint8_t question[32];
    struct slot *found = NULL;

    question_of(pool, ask, question);
    pthread_mutex_lock(&pool->lock);
    drop_old(pool, now_mono_ms);
    for (size_t i = 0; i < AUTH_SLOTS && !found; i++)
        if (pool->slots[i].state != SLOT_FREE && memcmp(pool->slots[i].question, question, sizeof(question)) == 0)
            found = &pool->slots[i];
    enum auth_derived derived = found ? look(found, now_mono_ms, ret) : put(pool, ask, question, now_mono_ms);
    pthread_mutex_unlock(&pool->lock);
    return derived;
}

bool auth_password_same(const uint8_t a[AUTH_PASSWORD_HASH_BYTES], const uint8_t b[AUTH_PASSWORD_HASH_BYTES]) {
    return CRYPTO_memcmp(a, b, AUTH_PASSWORD_HASH_BYTES) == 0;
}
