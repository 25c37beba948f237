/* SPDX-License-Identifier: GPL-3.0-or-later */
/* hotplug - which drives are docked, in which bays, and who they are.
 *
 *     udev (hal/udev) ─────────┐                        ┌─ identity, in a thread of its own
 *     folders (hal/virtual) ───┴─ appear / vanish ─ dockings ─ the handler, on every change
 *
 * A docking is one stay of one drive, from plug to pull; the same drive docked again is another
 * one. Its state says how far Berth has come with it:
 *
 *     ─ appear ┬─> FLAPPING ── stayed long enough ──┐
 *              ├─> CROWDED ── the bay is free ──────┤
 *              ├─> OUTSIDE (no bay: never touched)  │
 *              └────────────────────────────────────┴─> IDENTIFYING ─> READY, or UNREADABLE
 *     every one of them ─ vanish ─> GONE
 *
 * A drive that is there at start appears like one that is docked later. Reports of the same docking
 * may come any number of times. An empty or duplicate serial number does not change the state: the
 * drive is READY, and its identity's fault says it; the handler is called again when a fault comes
 * or goes. Everything happens on the thread of the loop; only identifying may block, and has its
 * own. Wakes up for happenings only, and once for each drive that flaps.
 * Source: hotplug specification, section 5; design, section 5. */
#pragma once

#include <systemd/sd-event.h>

#include "hal/bay.h"
#include "hal/identity.h"

#define HAL_NODE_MAX     512 /* bytes of a node's or image's path with NUL */
#define HAL_DOCKINGS_MAX 512 /* drives at once, in bays or not */

/* X(identifier, name, sentence) */
#define HAL_DOCKING_STATES(X)                                                                 \
        X(OUTSIDE, "outside", "the drive is in no bay and is not touched")                    \
        X(CROWDED, "crowded", "another drive is in this bay already")                         \
        X(FLAPPING, "flapping", "the drive comes and goes; it has to stay before it is used") \
        X(IDENTIFYING, "identifying", "the drive is being identified")                        \
        X(READY, "ready", "the drive is docked and known")                                    \
        X(UNREADABLE, "unreadable", "the drive does not answer, or cannot be opened")         \
        X(GONE, "gone", "the drive was pulled")

enum hal_docking_state {
#define X(id, name, sentence) HAL_DOCKING_##id,
        HAL_DOCKING_STATES(X)
#undef X
                _HAL_DOCKING_STATE_MAX,
        _HAL_DOCKING_STATE_INVALID = -EINVAL,
};
const char *hal_docking_state_to_string(enum hal_docking_state s);      /* NULL outside the list */
enum hal_docking_state hal_docking_state_from_string(const char *name); /* _INVALID for others */
const char *hal_docking_state_sentence(enum hal_docking_state s) _const_; /* "" outside the list */

struct hal_docking {
        /* Grows with every docking and is the same after a restart: the kernel's DISKSEQ; the time
         * when the image file came (microseconds). Unique among drives of one kind. */
        uint64_t sequence;
        enum hal_docking_state state;
        const struct hal_bay *bay; /* NULL: OUTSIDE */
        struct hal_whereabouts where;
        char node[HAL_NODE_MAX]; /* "/dev/sdb", or the path of the image */
        bool is_virtual;
        struct hal_identity identity; /* READY; OUTSIDE as far as sysfs tells it */
        struct bth_error error;       /* UNREADABLE */
        dev_t file_device;            /* of an image file */
        ino_t file_inode;
};

/* Called for each change of a docking's state or fault; on GONE for the last time: then the docking
 * is freed. Must not free the hotplug object. */
typedef void (*hal_docking_handler)(const struct hal_docking *docking, void *userdata);

struct hal_hotplug_options {
        const struct hal_host *host; /* borrowed; NULL: the real machine */
        const struct hal_bays *bays; /* borrowed, constant */
        hal_docking_handler handler;
        void *userdata;
        /* Three stays in a row, each shorter than `short_usec`: the fourth must last `quiet_usec`.
         * 0: 3 and 10 seconds. */
        uint64_t short_usec, quiet_usec;
};

struct hal_hotplug;

/* Returns 0; -ENOMEM; the errors of sd_event_add_io(3) and eventfd(2). */
int hal_hotplug_new(sd_event *loop, const struct hal_hotplug_options *options,
                    struct hal_hotplug **ret_hotplug) _must_check_;
/* NULL is fine; returns NULL. Waits for drives that are being identified, at most the time of a few
 * SCSI commands. The handler is not called any more. */
struct hal_hotplug *hal_hotplug_free(struct hal_hotplug *h);
DEFINE_CLEANUP(hal_hotplug_free, struct hal_hotplug *);

/* The dockings there are, in the order in which they came; NULL behind the last. */
const struct hal_docking *hal_hotplug_at(const struct hal_hotplug *h, size_t index);
/* The drive in use in a bay: the one that is neither OUTSIDE nor CROWDED; or NULL. */
const struct hal_docking *hal_hotplug_in_bay(const struct hal_hotplug *h,
                                             const struct hal_bay *bay);

/* Opens the drive of a docking for reading, for a worker; exclusively where it is a device, so that
 * nothing can mount it meanwhile. Checks that it still is that docking.
 * Returns 0; -ENODEV when it is not; -EBUSY when something has it; -errno of open(2). */
int hal_docking_open(const struct hal_docking *docking, const struct hal_host *host, int *ret_fd,
                     struct bth_error *error) _must_check_;

/* ---- for those who watch (hal/udev, hal/virtual) ---- */

/* What a watcher has seen; texts are copied. */
struct hal_sighting {
        uint64_t sequence;
        const char *node;
        struct hal_whereabouts where;
        bool is_virtual;
        dev_t device; /* of a block device */
        struct hal_udev_hints hints;
        dev_t file_device; /* of an image file */
        ino_t file_inode;
};

/* A drive is there: docked now, seen again, or changed. A node that had another sequence before is
 * another drive: its old docking is GONE. An UNREADABLE drive is tried again.
 * Returns 0; -ENOSPC beyond HAL_DOCKINGS_MAX; -ENAMETOOLONG; -ENOMEM. */
int hal_hotplug_appear(struct hal_hotplug *h, const struct hal_sighting *s) _must_check_;

/* The drive with this node went. Nothing happens when it was not there, or when the docking there
 * is a later one than `sequence` (0: whichever). */
void hal_hotplug_vanish(struct hal_hotplug *h, const char *node, uint64_t sequence);

/* A full look begins and ends: what has not appeared in between, of devices or of the images in one
 * folder, is gone. `directory` NULL: devices. */
void hal_hotplug_look_begin(struct hal_hotplug *h, const char *directory);
void hal_hotplug_look_end(struct hal_hotplug *h, const char *directory);

const struct hal_host *hal_hotplug_host(const struct hal_hotplug *h);
const struct hal_bays *hal_hotplug_bays(const struct hal_hotplug *h);
sd_event *hal_hotplug_loop(const struct hal_hotplug *h);
