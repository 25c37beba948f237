/* SPDX-License-Identifier: GPL-3.0-or-later */
/* worker-internal - what the files of the worker share. Internal to uploader/worker*.c. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "base/order.h"
#include "media/manifest-spool.h"
#include "uploader/drive.h"
#include "uploader/engine.h"
#include "uploader/limit.h"
#include "uploader/renew.h"
#include "uploader/sandbox.h"
#include "uploader/worker-link.h"
#include "uploader/worker-list.h"
#include "uploader/worker-log.h"
#include "uploader/worker-sidecar.h"

#define UPL_WORKER_STALL_SEC 1800u
#define UPL_WORKER_MEMORY_BYTES                                            \
        (UINT64_C(128) << 20) /* the budget, unless the order says another \
                               */
#define UPL_WORKER_INDEX_BYTES                                            \
        (UINT64_C(1) << 30) /* for the list of files; more goes to a file \
                             */
#define UPL_WORKER_STOP_USEC                                                \
        (3 * UINT64_C(1000000)) /* then the process ends, whatever holds it \
                                 */

/* Counted by the engine's callbacks, one at a time; looked at by the listener. */
struct upl_worker_counts {
        atomic_ullong blobs, bytes; /* of the manifest */
        atomic_ullong blobs_done, bytes_done;
        atomic_ullong completed, created, renamed, skipped, overwritten, failed, forbidden;
        atomic_ullong sent_bytes; /* of blobs that ended */
};

struct upl_worker {
        struct bth_order order;
        struct upl_link *link;
        int socket_fd;
        struct bth_frame_reader *reader;

        /* opened while files may still be opened */
        struct upl_state *state;
        int manifest_fd, index_fd, list_fd, error_log_fd, verbose_log_fd;

        /* the network; the listener leaves it alone until `ready` */
        struct upl_credential *credential;
        struct upl_limit *limit;
        struct upl_budget *budget;
        struct upl_hasher *hasher;
        struct upl_client *client;
        struct upl_transfer_env env;
        atomic_bool stop, ready;

        /* the drive */
        uint64_t drive_bytes; /* at the start */
        struct upl_drive *drive;
        struct upl_renew_identity identity;  /* borrows from the order */
        uint64_t identity_usec;              /* when its next token is due */
        struct upl_renewer *renewer;         /* NULL: the station sends new credentials */
        _Atomic(struct bth_source *) device; /* of `drive`, for the listener */
        struct med_ntfs_index *index;
        struct med_manifest_spool *spool;
        struct med_manifest_summary *summary;
        struct upl_list *list;
        struct upl_sidecars *sidecars;
        struct upl_logs *logs;

        _Atomic(enum bth_activity) activity; /* the stage */
        _Atomic(enum bth_activity) told; /* what the station knows: a stage, or what it waits for */
        struct upl_worker_counts counts;
        enum bth_drive_status status;
        struct bth_error error;
        unsigned n_doubts;         /* notes about files, which end at a limit */
        unsigned network_failures; /* blobs that ended so, one after the other */
        char *error_log, *verbose_log, *manifest_backup; /* where they were uploaded */

        pthread_t listener;
        bool listening;
        int quit_fd; /* an event: the listener is to end */
        int signal_fd;
};

/* What the manifest is read with. */
void upl_worker_manifest_options(const struct upl_worker *w, const struct med_findings *findings,
                                 struct med_manifest_options *ret_options);

/* Opens state and spools, in the folder of the order; before the sandbox. Returns 0; -EINVAL for
 * descriptors that are not what they must be; as upl_state_open(); -errno of open(2). */
int upl_worker_open_files(struct upl_worker *w) _must_check_;
/* Makes what sends, with the order's credential, and `env` of it. Returns 0; -EINVAL for what the
 * order says and cannot be used; errors of the machine's identity; -ENOMEM. May block. */
int upl_worker_open_network(struct upl_worker *w) _must_check_;

/* Enters the sandbox that the order needs, and reports the level. Returns 0, as
 * upl_sandbox_enter().
 */
int upl_worker_sandbox(struct upl_worker *w) _must_check_;
void upl_worker_sandbox_report(struct upl_link *link, const struct upl_sandbox_level *level);

/* Starts and ends the thread that listens: until the worker is ready for signals alone, which then
 * end the process at once. Ending one that was not started is fine. Returns 0, -errno of
 * eventfd(2), signalfd(2) and pthread_create(3). */
int upl_worker_listen(struct upl_worker *w) _must_check_;
void upl_worker_listen_end(struct upl_worker *w);

/* Reads the journals that come over `reader` in place of an order, of which `first` is the frame of
 * the first, and reports their drives and the result. Returns 0 when a result was sent; -EBADMSG
 * for messages that are not in order; -EPIPE; -errno. Blocks. */
int upl_worker_journals(struct bth_frame_reader *reader, struct upl_link *link,
                        struct bth_frame *first, struct bth_error *error) _must_check_;

/* Transfers every blob of the list and logs each. Returns 0; -ECANCELED stopped; -ENODEV the drive
 * is gone; -ENETDOWN the service cannot be reached; -ENOMEM and errors of state and logs. Blocks.
 */
int upl_worker_transfer(struct upl_worker *w) _must_check_;

/* The result as it stands; texts are borrowed. For ends other than FINISHED and FAILED any thread
 * may call it at any time. */
void upl_worker_result(const struct upl_worker *w, enum bth_run_end end,
                       struct bth_message *ret_message);
