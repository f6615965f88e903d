/* surgetank: telemetry delivery that never blocks, never grows and never loses silently.
 *
 * Made from host-native/capi/src/lib.rs; changes belong there. */

#ifndef SURGETANK_H
#define SURGETANK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * It was queued.
 */
#define SURGETANK_QUEUED 0

/**
 * It was dropped and counted: the status says why.
 */
#define SURGETANK_DROPPED 1

/**
 * A pointer that must not be null is, a size is not that of any version of the structure, a signal is unknown.
 */
#define SURGETANK_INVALID_ARGUMENT -1

/**
 * The bytes are not what the call takes; nothing was recorded.
 */
#define SURGETANK_INVALID_DATA -2

/**
 * A bug of this library, which was kept from spreading.
 */
#define SURGETANK_INTERNAL -3

/**
 * OTLP spans (`ExportTraceServiceRequest`).
 */
#define SURGETANK_TRACES 0

/**
 * OTLP log records (`ExportLogsServiceRequest`).
 */
#define SURGETANK_LOGS 1

/**
 * OTLP metrics (`ExportMetricsServiceRequest`).
 */
#define SURGETANK_METRICS 2

/**
 * A client. Opaque.
 */
typedef struct surgetank_client surgetank_client;

/**
 * Settings. Zero or null stands for the default everywhere.
 */
typedef struct surgetank_options {
  /**
   * `sizeof(surgetank_options)`: tells versions of this structure apart.
   */
  size_t size;
  /**
   * Sentry DSN.
   */
  const char *sentry_dsn;
  /**
   * Base URL of an OTLP receiver over HTTP.
   */
  const char *otlp_endpoint;
  /**
   * Version of the program.
   */
  const char *release;
  /**
   * Where it runs, such as `production`.
   */
  const char *environment;
  /**
   * `service.name` of OTLP's resource.
   */
  const char *service_name;
  /**
   * Memory for records in bytes: 64 KiB to 1 GiB, default 4 MiB.
   */
  size_t memory_bytes;
  /**
   * True to take what is not set here from `SENTRY_*` and `OTEL_*` variables.
   */
  bool from_environment;
} surgetank_options;

/**
 * What a flush or a close left behind.
 */
typedef struct surgetank_left {
  /**
   * Records still queued or in flight, in the units of their categories. A log counts itself and its bytes.
   */
  uint64_t quantity;
  /**
   * Bytes not even taken out of the intake.
   */
  uint64_t intake_bytes;
} surgetank_left;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Makes a client. Nothing is sent and no thread is started before the first record.
 *
 * Null when a setting is wrong; then `message` (unless it is null) holds what was wrong and what would be right, cut to
 * `message_size` bytes with the terminating zero.
 *
 * # Safety
 * `options` points to a `surgetank_options` whose strings end with a zero byte; `message` to `message_size` bytes that
 * may be written.
 */
struct surgetank_client *surgetank_init(const struct surgetank_options *options,
                                        char *message,
                                        size_t message_size);

/**
 * Records a ready-made Sentry envelope.
 *
 * # Safety
 * `client` came from `surgetank_init` and was not freed; `envelope` points to `length` bytes.
 */
int32_t surgetank_record_envelope(const struct surgetank_client *client,
                                  const uint8_t *envelope,
                                  size_t length);

/**
 * Records a ready-made OTLP export request in protobuf: `signal` is one of `SURGETANK_TRACES`, `SURGETANK_LOGS`,
 * `SURGETANK_METRICS`. It is checked to its last byte.
 *
 * # Safety
 * `client` came from `surgetank_init` and was not freed; `request` points to `length` bytes.
 */
int32_t surgetank_record_otlp(const struct surgetank_client *client,
                              uint32_t signal,
                              const uint8_t *request,
                              size_t length);

/**
 * Writes how the client is doing as JSON, with a terminating zero, and returns the bytes that it takes without that zero.
 * When `size` is not larger than that, nothing is written: call again with more room. 0 when `client` is null.
 *
 * Waits for up-to-date figures for 20 ms at most.
 *
 * # Safety
 * `client` came from `surgetank_init` and was not freed; `text` points to `size` bytes that may be written, or is null.
 */
size_t surgetank_status(const struct surgetank_client *client,
                        char *text,
                        size_t size);

/**
 * Sends what was recorded before now, and waits for that at most `timeout_ms`. True when nothing of it is left;
 * otherwise `left` (unless it is null) says how much is.
 *
 * # Safety
 * `client` came from `surgetank_init` and was not freed; `left` may be written, or is null.
 */
bool surgetank_flush(const struct surgetank_client *client,
                     uint64_t timeout_ms,
                     struct surgetank_left *left);

/**
 * Takes nothing more, sends what is queued for at most `timeout_ms`, and drops and counts the rest. True when nothing was
 * left; otherwise `left` (unless it is null) says how much was. The client has to be freed all the same.
 *
 * # Safety
 * `client` came from `surgetank_init` and was not freed; `left` may be written, or is null.
 */
bool surgetank_close(const struct surgetank_client *client,
                     uint64_t timeout_ms,
                     struct surgetank_left *left);

/**
 * Frees a client; one that was not closed is closed first, within two seconds. Null is nothing to do.
 *
 * # Safety
 * `client` came from `surgetank_init`, was not freed, and no other thread is in a call with it.
 */
void surgetank_free(struct surgetank_client *client);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* SURGETANK_H */
