/* fork, double fork and vfork with a client that is in use: what the child records is delivered once, what the parent
 * recorded is the parent's, and nobody waits longer than was asked for.
 *
 *   forks deliver    children deliver, and so does the parent; prints the parent's status
 *   forks stall      the server stalls: calls in children keep their deadlines
 *   forks execute    what vfork's child becomes: a program of its own, which got nothing of its parent
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <surgetank.h>

#define CHILDREN 6
#define PATIENT 60000
#define TWO_SECONDS 2000
#define GRACE 100
#define FILES 1024

#define EXPECT(condition)                                                                                              \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s, line %d: %s\n", role, __LINE__, #condition);                                          \
            failures++;                                                                                                \
        }                                                                                                              \
    } while (0)

static const char *role = "parent";
static int failures = 0;
static surgetank_client *client;
static atomic_bool stop;

/* ExportTraceServiceRequest: one span with a name of six letters. */
static int span(const char name[6]) {
    uint8_t request[] = {
        0x0a, 0x28, 0x12, 0x26, 0x12, 0x24, 0x0a, 0x10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
        0x12, 0x08, 1, 2, 3, 4, 5, 6, 7, 8, 0x2a, 0x06, 0, 0, 0, 0, 0, 0,
    };
    memcpy(request + sizeof request - 6, name, 6);
    return surgetank_record_otlp(client, SURGETANK_TRACES, request, sizeof request);
}

static int envelope(const char *type, const char *message) {
    char text[256];
    int length = snprintf(text, sizeof text, "{}\n{\"type\":\"%s\"}\n{\"message\":\"%s\"}\n", type, message);
    return surgetank_record_envelope(client, (const uint8_t *)text, (size_t)length);
}

static surgetank_client *make(void) {
    surgetank_options options = {.size = sizeof options};
    options.sentry_dsn = getenv("SENTRY_DSN");
    options.otlp_endpoint = getenv("OTEL_EXPORTER_OTLP_ENDPOINT");
    char problem[256];
    surgetank_client *made = surgetank_init(&options, problem, sizeof problem);
    if (made == NULL) {
        fprintf(stderr, "%s: %s\n", role, problem);
        exit(2);
    }
    return made;
}

/* Records until it is told to stop. */
static void *keep_recording(void *unused) {
    (void)unused;
    while (!atomic_load(&stop)) {
        struct timespec pause = {.tv_nsec = 50000};
        span("parent");
        nanosleep(&pause, NULL);
    }
    return NULL;
}

/* What a child does, whichever way it came to be. */
static int deliver(const char *who) {
    surgetank_left left = {1, 1};
    role = who;
    alarm(90);
    EXPECT(envelope("event", who) == SURGETANK_QUEUED);
    EXPECT(span("childs") == SURGETANK_QUEUED);
    /* The server's word was for the parent. */
    EXPECT(envelope("transaction", "not limited here") == SURGETANK_QUEUED);
    EXPECT(surgetank_flush(client, PATIENT, &left));
    EXPECT(left.quantity == 0 && left.intake_bytes == 0);
    return failures;
}

static int ended_well(pid_t child) {
    int status = 0;
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void have_children(char *self) {
    for (int number = 0; number < CHILDREN; number++) {
        char who[32];
        snprintf(who, sizeof who, "child %d", number);
        pid_t child = fork();
        if (child == 0) {
            _exit(deliver(who));
        }
        EXPECT(ended_well(child));
    }

    /* A daemon, whose parent is gone; the pipe ends with it. */
    int ends[2];
    char verdict = 1;
    EXPECT(pipe(ends) == 0);
    pid_t between = fork();
    if (between == 0) {
        setsid();
        if (fork() == 0) {
            verdict = (char)deliver("daemon");
            _exit(write(ends[1], &verdict, 1) != 1);
        }
        _exit(0);
    }
    EXPECT(ended_well(between));
    close(ends[1]);
    EXPECT(read(ends[0], &verdict, 1) == 1 && verdict == 0);
    close(ends[0]);

    for (int number = 0; number < CHILDREN; number++) {
        char *arguments[] = {self, "execute", NULL};
        pid_t child = vfork();
        if (child == 0) {
            execve(self, arguments, environ);
            _exit(3);
        }
        EXPECT(ended_well(child));
    }
}

static int parent(char *self) {
    pthread_t threads[2];
    /* Whatever this program was given itself. */
    for (int file = 3; file < FILES; file++) {
        close(file);
    }
    client = make();
    EXPECT(envelope("transaction", "to be refused") == SURGETANK_QUEUED);
    EXPECT(surgetank_flush(client, PATIENT, NULL));
    EXPECT(envelope("transaction", "limited") == SURGETANK_DROPPED);
    for (int number = 0; number < 2; number++) {
        EXPECT(pthread_create(&threads[number], NULL, keep_recording, NULL) == 0);
    }
    have_children(self);
    EXPECT(envelope("transaction", "still limited") == SURGETANK_DROPPED);
    atomic_store(&stop, true);
    for (int number = 0; number < 2; number++) {
        pthread_join(threads[number], NULL);
    }
    EXPECT(envelope("event", "parent") == SURGETANK_QUEUED);
    EXPECT(surgetank_close(client, PATIENT, NULL));
    char status[16384];
    EXPECT(surgetank_status(client, status, sizeof status) < sizeof status);
    puts(status);
    surgetank_free(client);
    return failures;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

/* Milliseconds that the kernel kept this thread waiting for a processor. */
static double kept_waiting(void) {
    unsigned long long ran = 0, waited = 0;
    FILE *file = fopen("/proc/thread-self/schedstat", "r");
    if (file != NULL) {
        if (fscanf(file, "%llu %llu", &ran, &waited) != 2) {
            waited = 0;
        }
        fclose(file);
    }
    return (double)waited / 1e6;
}

#define ON_TIME(call)                                                                                                  \
    do {                                                                                                               \
        double waited = kept_waiting(), begun = now();                                                                 \
        call;                                                                                                          \
        double took = now() - begun, machine = kept_waiting() - waited;                                                \
        if (took > TWO_SECONDS + GRACE + machine) {                                                                    \
            fprintf(stderr, "%s: %s took %.0f ms, the machine's part is %.0f ms\n", role, #call, took, machine);       \
            failures++;                                                                                                \
        }                                                                                                              \
    } while (0)

static int stalled_child(void) {
    role = "child";
    alarm(90);
    EXPECT(envelope("event", "child") == SURGETANK_QUEUED);
    ON_TIME(EXPECT(!surgetank_flush(client, TWO_SECONDS, NULL)));
    ON_TIME(EXPECT(!surgetank_close(client, TWO_SECONDS, NULL)));
    client = make();
    EXPECT(envelope("event", "child") == SURGETANK_QUEUED);
    ON_TIME(surgetank_free(client));
    return failures;
}

static int stall(void) {
    client = make();
    EXPECT(envelope("event", "parent") == SURGETANK_QUEUED);
    EXPECT(!surgetank_flush(client, 100, NULL));
    /* A late call may be the machine's doing; three in a row are not. */
    bool well = false;
    for (int attempt = 0; attempt < 3 && !well; attempt++) {
        pid_t child = fork();
        if (child == 0) {
            _exit(stalled_child());
        }
        well = ended_well(child);
    }
    EXPECT(well);
    surgetank_close(client, 0, NULL);
    surgetank_free(client);
    return failures;
}

static int executed(void) {
    role = "executed";
    /* Beside input and outputs, none of the parent's. */
    for (int file = 3; file < FILES; file++) {
        EXPECT(fcntl(file, F_GETFD) == -1 && errno == EBADF);
    }
    client = make();
    int failed = deliver("executed");
    surgetank_free(client);
    return failed;
}

int main(int count, char **arguments) {
    const char *mode = count == 2 ? arguments[1] : "";
    alarm(300);
    if (strcmp(mode, "deliver") == 0) {
        return parent(arguments[0]);
    }
    if (strcmp(mode, "stall") == 0) {
        return stall();
    }
    return strcmp(mode, "execute") == 0 ? executed() : 2;
}
