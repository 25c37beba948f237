/* SPDX-License-Identifier: GPL-3.0-or-later */
/* faultsource - a drive that misbehaves: a layer over any source for tests.
 *
 * Bad places, a pull after so many bytes, silence, half-filled buffers and slowness, each as the
 * hotplug specification, section 6, describes real drives. Faults may be changed while other
 * threads read. */
#pragma once

#include "base/source.h"

#define FAULT_NEVER UINT64_MAX

/* Reads that touch [offset, offset + length) fail with `error` (-EIO, -ENODATA, -EREMOTEIO). */
struct fault_range {
        uint64_t offset_bytes, length_bytes;
        int error;
        unsigned times; /* and then the place is good again; 0: it stays bad */
};

struct fault_plan {
        const struct fault_range *ranges; /* copied */
        size_t n_ranges;
        uint64_t gone_after_bytes;  /* -ENODEV for ever after so many bytes; FAULT_NEVER */
        uint64_t stall_after_bytes; /* silent after so many, until resumed; FAULT_NEVER */
        bool short_reads;           /* what fails has filled half of the buffer before */
        uint64_t slow_usec_per_mib; /* each read takes at least so long */
};
#define FAULT_PLAN_NONE \
        ((struct fault_plan){ .gone_after_bytes = FAULT_NEVER, .stall_after_bytes = FAULT_NEVER })

struct fault_counts {
        uint64_t reads, bytes; /* that came back well */
        uint64_t failed;
        unsigned waiting; /* threads that the silence holds */
};

/* Lays faults over `below`, which is borrowed unless `own` is set (then also when this fails).
 * Freeing it while a thread is inside is a fault of the test. Returns 0 or -ENOMEM. */
int fault_source_new(struct bth_source *below, bool own, const struct fault_plan *plan,
                     struct bth_source **ret_source) _must_check_;

/* Only for sources of fault_source_new(). */
void fault_source_pull(struct bth_source *s);   /* gone from now on; ends a silence */
void fault_source_dock(struct bth_source *s);   /* there again, and `gone_after` does not count */
void fault_source_stall(struct bth_source *s);  /* silent from now on */
void fault_source_resume(struct bth_source *s); /* ends the silence; it does not come again */
void fault_source_wait_stalled(struct bth_source *s); /* returns when a thread is held */
void fault_source_get_counts(struct bth_source *s, struct fault_counts *ret_counts);
