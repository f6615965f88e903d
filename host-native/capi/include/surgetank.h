/* surgetank: telemetry delivery that never blocks, never grows and never loses silently. For C99 and C++.
 *
 *   surgetank_options options = {0};
 *   options.size = sizeof options;
 *   options.sentry_dsn = dsn;
 *   char problem[256];
 *   surgetank_client *client = surgetank_init(&options, problem, sizeof problem);
 *   surgetank_record_envelope(client, envelope, length);
 *   surgetank_close(client, 2000, NULL);
 *   surgetank_free(client);
 *
 * Ownership: surgetank_init gives a client, which is the caller's until surgetank_free. A client lives as long as the
 * program mostly; there may be several. What any other pointer points to stays the caller's: it is read or written
 * during the call, and not kept.
 *
 * Threads: every call may be made on any thread, and on several at once with the same client, without a lock around it. Only
 * surgetank_free needs that no other call with the client is going on or follows.
 *
 * Blocking: recording waits for nobody and allocates nothing. surgetank_flush and surgetank_close wait as long as they are
 * told and no longer, surgetank_free two seconds at most.
 *
 * Signals: the calls that record may be made in signal handlers, once surgetank_start has been called; no other may.
 *
 * fork: the child goes on with the same pointer, with memory and a thread of its own from its first record. What the
 * parent recorded stays the parent's to deliver, and a limit that a server told the parent the child hears of from the
 * server. Parent and child each free the client.
 *
 * Units: sizes are in bytes, times in milliseconds. Texts are UTF-8 and end with a zero byte.
 *
 * A null client is an error that the call returns, not a crash. No call throws, and none ends the program.
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
 * A client. Opaque; of `surgetank_init`, until `surgetank_free`.
 */
typedef struct surgetank_client surgetank_client;

/**
 * Settings. Zero or null stands for the default everywhere, so set all of it to zero first. Not needed after
 * `surgetank_init`.
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
   * True to take what is not set here from `SENTRY_*` and `OTEL_*` variables. What of them was ignored, and why, is
   * in `warnings` of the status.
   */
  bool from_environment;
  /**
   * True to write what happens (refused requests, retries, health) to standard error, a few lines in ten seconds at
   * most.
   */
  bool debug;
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
 * Gives a client that is to be freed with `surgetank_free`. Null when a setting is wrong; then `message` (unless it is null)
 * holds what was wrong and what would be right, cut to `message_size` bytes with the terminating zero. 256 are enough.
 *
 * # Safety
 * `options` points to a `surgetank_options` of the size that it names, whose strings end with a zero byte; `message` to
 * `message_size` bytes that may be written.
 */
struct surgetank_client *surgetank_init(const struct surgetank_options *options,
                                        char *message,
                                        size_t message_size);

/**
 * Starts the client's thread if it does not run, which the first record does otherwise: for programs that record in signal
 * handlers, where no thread can be started. True when it runs.
 *
 * # Safety
 * `client` came from `surgetank_init` and was not freed.
 */
bool surgetank_start(const struct surgetank_client *client);

/**
 * Records a ready-made Sentry envelope: `SURGETANK_QUEUED`, `SURGETANK_DROPPED` (it was counted; without a DSN, nothing is),
 * or one of the errors, which are negative.
 *
 * It is copied. Its `event_id` is what Sentry tells doubles by, so each envelope needs its own.
 *
 * # Safety
 * `client` came from `surgetank_init` and was not freed; `envelope` points to `length` bytes.
 */
int32_t surgetank_record_envelope(const struct surgetank_client *client,
                                  const uint8_t *envelope,
                                  size_t length);

/**
 * Records a ready-made OTLP export request in protobuf: `signal` is one of `SURGETANK_TRACES`, `SURGETANK_LOGS`,
 * `SURGETANK_METRICS`. It is checked to its last byte, and copied. Returns what `surgetank_record_envelope` does.
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
 * When `size` is not larger than that, nothing is written: call again with more room, and as figures grow meanwhile, with
 * some to spare. 0 when `client` is null.
 *
 * Waits for up-to-date figures for 20 ms at most, and allocates. For every category `totals` says what was recorded,
 * delivered and dropped, and `totals.reasons` why.
 *
 * # Safety
 * `client` came from `surgetank_init` and was not freed; `text` points to `size` bytes that may be written, or is null.
 */
size_t surgetank_status(const struct surgetank_client *client,
                        char *text,
                        size_t size);

/**
 * Sends what was recorded before now, and waits for that at most `timeout_ms` milliseconds; 0 to wait for nothing. True
 * when nothing of it is left. `left` (unless it is null) says how much is.
 *
 * # Safety
 * `client` came from `surgetank_init` and was not freed; `left` may be written, or is null.
 */
bool surgetank_flush(const struct surgetank_client *client,
                     uint64_t timeout_ms,
                     struct surgetank_left *left);

/**
 * Takes nothing more, sends what is queued for at most `timeout_ms` milliseconds, and drops and counts the rest. True when
 * nothing was left; `left` (unless it is null) says how much was. It holds for every thread. A second call is allowed,
 * and can only bring the end forward. The client has to be freed all the same.
 *
 * # Safety
 * `client` came from `surgetank_init` and was not freed; `left` may be written, or is null.
 */
bool surgetank_close(const struct surgetank_client *client,
                     uint64_t timeout_ms,
                     struct surgetank_left *left);

/**
 * Frees a client; one that was not closed is closed first, within two seconds. Null is nothing to do. A client that is
 * freed twice, or used afterwards, is as bad as with `free`.
 *
 * # Safety
 * `client` came from `surgetank_init`, was not freed, and no other thread is in a call with it.
 */
void surgetank_free(struct surgetank_client *client);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* SURGETANK_H */
