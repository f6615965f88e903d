/* A client used by several threads at once, by a child of fork, and closed by two threads. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <surgetank.h>

enum { THREADS = 4, RECORDS = 50, PATIENT_MS = 60000 };

static surgetank_client *client;
static atomic_int failures;

#define EXPECT(condition)                                                                                              \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            atomic_fetch_add(&failures, 1);                                                                            \
            fprintf(stderr, "line %d: %s\n", __LINE__, #condition);                                                    \
        }                                                                                                              \
    } while (0)

static void record(const char *who, int number) {
    char envelope[256];
    int length = snprintf(envelope, sizeof envelope,
                          "{}\n{\"type\":\"event\"}\n{\"message\":\"%s %d\",\"platform\":\"c\"}\n", who, number);
    EXPECT(surgetank_record_envelope(client, (const uint8_t *)envelope, (size_t)length) == SURGETANK_QUEUED);
}

static void *record_many(void *number) {
    int first = *(const int *)number * RECORDS;
    for (int each = first; each < first + RECORDS; each++) {
        record("thread", each);
        if (each % 10 == 0) {
            char status[64];
            EXPECT(surgetank_status(client, status, sizeof status) > sizeof status);
            surgetank_flush(client, 0, NULL);
        }
    }
    return NULL;
}

static void *close_it(void *unused) {
    (void)unused;
    EXPECT(surgetank_close(client, PATIENT_MS, NULL));
    return NULL;
}

int main(void) {
    surgetank_options options;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.from_environment = true;
    char problem[256];
    client = surgetank_init(&options, problem, sizeof problem);
    if (client == NULL) {
        fprintf(stderr, "%s\n", problem);
        return EXIT_FAILURE;
    }
    EXPECT(surgetank_start(client));

    pthread_t threads[THREADS];
    int numbers[THREADS];
    for (int each = 0; each < THREADS; each++) {
        numbers[each] = each;
        EXPECT(pthread_create(&threads[each], NULL, record_many, &numbers[each]) == 0);
    }
    for (int each = 0; each < THREADS; each++) {
        EXPECT(pthread_join(threads[each], NULL) == 0);
    }

    /* One record is queued as the child is made: it stays the parent's. */
    record("parent", 0);
    pid_t child = fork();
    if (child == 0) {
        atomic_store(&failures, 0);
        record("child", 0);
        EXPECT(surgetank_flush(client, PATIENT_MS, NULL));
        surgetank_free(client);
        _exit(atomic_load(&failures));
    }
    pid_t idle = fork();
    if (idle == 0) {
        atomic_store(&failures, 0);
        surgetank_free(client);
        _exit(atomic_load(&failures));
    }
    int ended = -1;
    EXPECT(waitpid(child, &ended, 0) == child && WIFEXITED(ended) && WEXITSTATUS(ended) == 0);
    EXPECT(waitpid(idle, &ended, 0) == idle && WIFEXITED(ended) && WEXITSTATUS(ended) == 0);

    /* The longest time there is, for both. */
    surgetank_left left;
    memset(&left, 0xff, sizeof left);
    EXPECT(surgetank_flush(client, UINT64_MAX, &left) && left.quantity == 0 && left.intake_bytes == 0);
    for (int each = 0; each < 2; each++) {
        EXPECT(pthread_create(&threads[each], NULL, close_it, NULL) == 0);
    }
    for (int each = 0; each < 2; each++) {
        EXPECT(pthread_join(threads[each], NULL) == 0);
    }
    EXPECT(surgetank_close(client, UINT64_MAX, NULL));
    EXPECT(!surgetank_start(client));
    surgetank_free(client);
    return atomic_load(&failures);
}
