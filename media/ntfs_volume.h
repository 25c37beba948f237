/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ntfs_volume - an NTFS volume read without mounting it, and its files as byte sources.
 * Our own reader on a bth_source: never writes, replays no log. Only the content of compressed
 * files comes from libntfs-3g, under a watchdog that ends the process (media/ntfs_guard.h). A
 * volume is constant once open; any thread may open and read files of it. Source: NTFS 3.1 as
 * libntfs-3g's layout.h describes it. */
#pragma once

#include "base/error.h"
#include "base/source.h"
#include "media/ntfs_record.h"

#define MED_NTFS_ROOT_RECORD 5u
#define MED_NTFS_FIRST_USER  24u /* records below are the file system's own */
#define MED_NTFS_LABEL_UNITS 128u

struct med_ntfs_file;
struct med_ntfs_pieces;
struct med_ntfs_library;

struct med_ntfs_volume {
        struct bth_source *source; /* borrowed */
        uint32_t sector_bytes, cluster_bytes, record_bytes;
        uint64_t clusters, serial, mft_offset_bytes, n_records;
        bool dirty; /* not unmounted cleanly: a warning, not a refusal */
        char label[MED_NTFS_LABEL_UNITS * 3 + 1]; /* UTF-8; "": none */
        struct med_ntfs_file *mft;
        struct med_ntfs_pieces *pieces;   /* of $MFT, that were read last */
        struct med_ntfs_library *library; /* opened at first use */
        uint16_t upcase[65536];
};

enum med_ntfs_status {
        MED_NTFS_OK,
        MED_NTFS_IS_DIRECTORY,
        MED_NTFS_IS_ENCRYPTED,  /* EFS: the bytes on disk are not the file's */
        MED_NTFS_IS_REPARSE,    /* a link, a mount point, or content kept elsewhere */
        MED_NTFS_IS_OFFLINE,    /* content moved to other storage */
        MED_NTFS_IS_COMPRESSED, /* in a way that nobody knows; LZNT1 is MED_NTFS_OK */
        MED_NTFS_IS_DAMAGED,
};

struct med_ntfs_file {
        struct bth_source source; /* one data stream; holes and what was never written: 0 */
        const struct med_ntfs_volume *volume; /* borrowed */
        uint64_t reference, initialized_bytes;
        uint32_t dos_flags;
        uint64_t created, modified; /* 100 ns since 1601 */
        enum med_ntfs_status status;
        bool has_data, packed; /* packed: LZNT1, read through libntfs-3g, one call at a time */
        uint8_t *resident;     /* small content; then there are no runs */
        struct med_ntfs_runs runs;
        uint16_t stream[255]; /* the name of another data stream, as it is stored */
        uint8_t stream_units; /* 0: the unnamed one */
};

/* Opens the volume that fills `source`, which must outlive it. Returns 0; -EINVAL with
 * BTH_REASON_NOT_NTFS; -EBADMSG with BTH_REASON_NTFS_DAMAGED; -EIO and others as bth_source_read();
 * -ENOMEM. */
int med_ntfs_open(struct bth_source *source, struct med_ntfs_volume **ret, struct bth_error *error)
        _must_check_;
struct med_ntfs_volume *med_ntfs_close(struct med_ntfs_volume *v);
DEFINE_CLEANUP(med_ntfs_close, struct med_ntfs_volume *);

/* Opens the file of a base record. `reference` with a sequence number above bit 48 must fit the
 * record's; without, any does. A file whose status is not MED_NTFS_OK opens, but reading it fails
 * with -EOPNOTSUPP. Free with bth_source_free(&f->source). Returns 0; -ENOENT when no file is
 * there; -EBADMSG when it is damaged; -ENOMEM; as bth_source_read(). */
int med_ntfs_file_open(const struct med_ntfs_volume *v, uint64_t reference,
                       struct med_ntfs_file **ret) _must_check_;

/* The same for one of a file's other data streams, by its name in UTF-8. Returns also -ENOENT when
 * the file has no such stream; -EILSEQ, -ENAMETOOLONG for what can be no name. */
int med_ntfs_stream_open(const struct med_ntfs_volume *v, uint64_t reference, const char *name,
                         struct med_ntfs_file **ret) _must_check_;

enum med_ntfs_span_kind {
        MED_NTFS_SPAN_DISK,   /* as it lies at volume_offset_bytes */
        MED_NTFS_SPAN_ZERO,   /* a hole, or never written: zeros */
        MED_NTFS_SPAN_SOURCE, /* not as it lies on the volume: read it from the file */
};

struct med_ntfs_span {
        uint64_t offset_bytes; /* in the file */
        uint64_t length_bytes; /* at least 1; ends inside the file */
        uint64_t volume_offset_bytes;
        enum med_ntfs_span_kind kind;
};

/* Where the bytes from `offset_bytes` on are, up to where that changes; neighbours on the disk come
 * as one. A loop that goes on at the end of each span sees the whole file. No I/O. Returns 1; 0 at
 * the file's end and behind it; -EOPNOTSUPP as reading; -EBADMSG when the volume does not say. */
int med_ntfs_file_span(const struct med_ntfs_file *f, uint64_t offset_bytes,
                       struct med_ntfs_span *ret) _must_check_;

/* Where a base record itself lies, so that files without extents have a place in disk order, too.
 * Returns MED_NTFS_HOLE when it is not on the volume. */
uint64_t med_ntfs_record_place(const struct med_ntfs_volume *v, uint64_t number);

/* What is wrong with the volume as a whole though its files can be read. */
struct med_ntfs_health {
        bool dirty;          /* the volume says that it was not unmounted cleanly */
        bool log_dirty;      /* its log was left open */
        bool mirror_differs; /* $MFTMirr is not the beginning of $MFT */
        bool refused;        /* libntfs-3g does not accept it; `error` of the check says why */
};

/* Looks at the whole. `error` is filled when `refused` is set, although the call succeeds. Returns
 * 0; -ENOMEM; as bth_source_read(). */
int med_ntfs_check(const struct med_ntfs_volume *v, struct med_ntfs_health *ret,
                   struct bth_error *error) _must_check_;
