/* A C program that reports an error to Sentry and a span to an OTLP receiver, and says how that went.
 *
 *   cargo build --release --package surgetank-capi
 *   cc -I host-native/capi/include examples/c/main.c -L target/release -lsurgetank_c -o example
 *   LD_LIBRARY_PATH=target/release SENTRY_DSN=... OTEL_EXPORTER_OTLP_ENDPOINT=... ./example
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <surgetank.h>

/* ExportTraceServiceRequest: one span, "charge", with trace id 1..16 and span id 1..8. */
static const uint8_t request[] = {
    0x0a, 0x28, 0x12, 0x26, 0x12, 0x24, 0x0a, 0x10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
    0x12, 0x08, 1, 2, 3, 4, 5, 6, 7, 8, 0x2a, 0x06, 'c', 'h', 'a', 'r', 'g', 'e',
};

int main(void) {
    surgetank_options options = {.size = sizeof options};
    options.release = "shop@1.4.2";
    options.environment = "example";
    options.service_name = "shop";
    options.from_environment = true;

    char problem[256];
    surgetank_client *client = surgetank_init(&options, problem, sizeof problem);
    if (client == NULL) {
        fprintf(stderr, "no telemetry: %s\n", problem);
        return EXIT_FAILURE;
    }

    const char *envelope = "{\"event_id\":\"9ec79c33ec9942ab8353589fcb2e04dc\"}\n"
                           "{\"type\":\"event\"}\n"
                           "{\"message\":\"card declined\",\"level\":\"error\",\"platform\":\"c\"}\n";
    if (surgetank_record_envelope(client, (const uint8_t *)envelope, strlen(envelope)) < 0) {
        fprintf(stderr, "that was no envelope\n");
    }
    if (surgetank_record_otlp(client, SURGETANK_TRACES, request, sizeof request) < 0) {
        fprintf(stderr, "that was no export request\n");
    }

    /* The end of the program: what is still queued gets some seconds. */
    surgetank_left left;
    bool complete = surgetank_close(client, 20000, &left);
    if (!complete) {
        fprintf(stderr, "left behind: %llu\n", (unsigned long long)left.quantity);
    }

    size_t length = surgetank_status(client, NULL, 0);
    char *status = malloc(length + 1);
    if (status != NULL && surgetank_status(client, status, length + 1) <= length) {
        printf("%s\n", status);
    }
    free(status);
    surgetank_free(client);
    return complete ? EXIT_SUCCESS : EXIT_FAILURE;
}
