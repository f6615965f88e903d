/* Every wrong call that C makes easy: each must come back with an error. */
#include <stdio.h>
#include <string.h>

#include <surgetank.h>

static int failures = 0;

#define EXPECT(condition)                                                                                              \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            failures++;                                                                                                \
            fprintf(stderr, "line %d: %s\n", __LINE__, #condition);                                                    \
        }                                                                                                              \
    } while (0)

int main(void) {
    char problem[64];
    const uint8_t garbage[] = {0xff, 0x00, 0xff};
    surgetank_options options;
    memset(&options, 0, sizeof options);

    /* Without settings, of another version, with settings that cannot be. */
    EXPECT(surgetank_init(NULL, problem, sizeof problem) == NULL && strstr(problem, "null") != NULL);
    EXPECT(surgetank_init(&options, problem, sizeof problem) == NULL && strstr(problem, "size") != NULL);
    options.size = sizeof options;
    options.sentry_dsn = "no dsn";
    EXPECT(surgetank_init(&options, problem, sizeof problem) == NULL && strlen(problem) > 0);
    EXPECT(surgetank_init(&options, problem, 1) == NULL && problem[0] == 0);
    problem[0] = 'x';
    EXPECT(surgetank_init(&options, problem, 0) == NULL && problem[0] == 'x');
    EXPECT(surgetank_init(&options, NULL, 0) == NULL);
    options.sentry_dsn = "\xff\xfe";
    EXPECT(surgetank_init(&options, problem, sizeof problem) == NULL && strstr(problem, "UTF-8") != NULL);
    options.sentry_dsn = NULL;
    options.memory_bytes = 1;
    EXPECT(surgetank_init(&options, problem, sizeof problem) == NULL && strstr(problem, "65536") != NULL);

    /* Without a client. */
    EXPECT(surgetank_record_envelope(NULL, garbage, sizeof garbage) == SURGETANK_INVALID_ARGUMENT);
    EXPECT(surgetank_record_otlp(NULL, SURGETANK_LOGS, garbage, sizeof garbage) == SURGETANK_INVALID_ARGUMENT);
    EXPECT(surgetank_status(NULL, problem, sizeof problem) == 0);
    EXPECT(!surgetank_flush(NULL, 10, NULL));
    EXPECT(!surgetank_close(NULL, 10, NULL));
    surgetank_left left;
    memset(&left, 0xff, sizeof left);
    EXPECT(!surgetank_flush(NULL, 10, &left) && left.quantity == 0 && left.intake_bytes == 0);
    EXPECT(!surgetank_start(NULL));
    surgetank_free(NULL);

    /* With one that has somewhere to send to, where nobody listens. */
    options.memory_bytes = 0;
    options.sentry_dsn = "http://0123456789abcdef0123456789abcdef@127.0.0.1:9/1";
    options.otlp_endpoint = "http://127.0.0.1:9";
    surgetank_client *client = surgetank_init(&options, problem, sizeof problem);
    EXPECT(client != NULL);
    EXPECT(surgetank_record_envelope(client, NULL, 3) == SURGETANK_INVALID_ARGUMENT);
    EXPECT(surgetank_record_envelope(client, garbage, SIZE_MAX) == SURGETANK_INVALID_ARGUMENT);
    EXPECT(surgetank_record_envelope(client, garbage, sizeof garbage) == SURGETANK_INVALID_DATA);
    EXPECT(surgetank_record_envelope(client, NULL, 0) == SURGETANK_INVALID_DATA);
    EXPECT(surgetank_record_otlp(client, 3, garbage, sizeof garbage) == SURGETANK_INVALID_ARGUMENT);
    EXPECT(surgetank_record_otlp(client, SURGETANK_TRACES, garbage, sizeof garbage) == SURGETANK_INVALID_DATA);
    char status[4] = "xyz";
    EXPECT(surgetank_status(client, status, sizeof status) > sizeof status && strcmp(status, "xyz") == 0);
    EXPECT(surgetank_flush(client, 0, NULL));

    const char *event = "{}\n{\"type\":\"event\"}\n{}\n";
    EXPECT(surgetank_record_envelope(client, (const uint8_t *)event, strlen(event)) == SURGETANK_QUEUED);
    EXPECT(!surgetank_close(client, 0, &left));
    surgetank_close(client, 0, &left);
    EXPECT(surgetank_record_envelope(client, (const uint8_t *)event, strlen(event)) == SURGETANK_DROPPED);
    surgetank_free(client);
    return failures;
}
