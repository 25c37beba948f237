/* SPDX-License-Identifier: GPL-3.0-or-later */
/* dataset - dataset.csv: what is to be copied, and where to. Three generations of headers, told
 * apart by their column names; each complaint names the line, the column, the cell and what is
 * allowed there. Source: import-export specification 4.2, 4.3, 4.7. */
#pragma once

#include "base/status.h"
#include "base/str.h"
#include "media/csv.h"
#include "media/naming.h"

#define MED_DATASET_MAX_ROWS 100000

enum med_dataset_generation {
        MED_DATASET_A, /* 2016:
                          BasePath,DstBlobPathOrPrefix,BlobType,Disposition,MetadataFile,PropertiesFile
                        */
        MED_DATASET_B, /* 2018: …,DstItemPathOrPrefix,ItemType,Disposition,… */
        MED_DATASET_C, /* 2.2.0.300: BasePath,DstItemPathOrPrefix,ItemType (Azure Files) */
        _MED_DATASET_MAX,
        _MED_DATASET_INVALID = -EINVAL,
};

enum med_item_kind {
        MED_ITEM_AUTO, /* cell empty: page for *.vhd, *.vhdx, else block */
        MED_ITEM_BLOCK,
        MED_ITEM_PAGE,
        MED_ITEM_FILE, /* Azure Files */
        _MED_ITEM_MAX,
        _MED_ITEM_INVALID = -EINVAL,
};

struct med_dataset_row {
        uint64_t line;
        char *base_path;
        bool is_folder;    /* ends with a separator, '/' or backslash */
        char *destination; /* as written; for Azure Files the share and path */
        struct med_destination parts;
        enum med_item_kind kind;
        bool has_disposition;
        enum bth_disposition disposition; /* RENAME when absent */
        char *metadata_file;              /* NULL: none */
        char *properties_file;
};

struct med_dataset {
        enum med_dataset_generation generation;
        struct med_dataset_row *rows;
        size_t n_rows;
        unsigned
                n_errors; /* findings that make the set unusable; the rows are what could be read */
};

/* Reads the whole file from memory; every fault is a finding, so that one run shows all of them.
 * Returns 0 also with findings: look at n_errors; -EBADMSG when it cannot be cut into rows or has
 * no known header; -EFBIG, -EILSEQ, -ENOMEM. */
int med_dataset_parse(const char *text, size_t n, const struct med_findings *findings,
                      struct med_dataset **ret_dataset, struct bth_error *error) _must_check_;
struct med_dataset *med_dataset_free(struct med_dataset *d); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(med_dataset_free, struct med_dataset *);

/* Adds the file in the form of `d->generation`. Returns 0, -EINVAL for a cell that this generation
 * cannot hold, -ENOMEM. */
int med_dataset_write(struct bth_buf *out, const struct med_dataset *d) _must_check_;
