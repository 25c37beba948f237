/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ntfs_walk - folders listed and walked, from the index alone. */
#include <string.h>

#include "media/ntfs_index.h"

#define DEPTH_MAX      4096u
#define PATH_MAX_BYTES (256u << 10)

struct walk {
        const struct med_ntfs_index *x;
        med_ntfs_visit *visit;
        void *context;
        uint8_t *seen; /* a bit a record: folders that name each other must not make it endless */
        struct {
                uint64_t reference, cursor;
                size_t path_bytes; /* of the folder itself */
        } level[DEPTH_MAX];
        char path[PATH_MAX_BYTES];
};

static bool is_own(uint64_t reference)
{
        return (reference & MED_NTFS_RECORD_MASK) < MED_NTFS_FIRST_USER;
}

/* The next name of a folder that is the customer's. */
static int next(const struct med_ntfs_index *x, uint64_t folder, uint64_t *cursor,
                struct med_ntfs_name *name, struct med_ntfs_found *found)
{
        int r;

        while ((r = med_ntfs_index_next(x, folder, cursor, name)) > 0)
                if (!is_own(name->record)) {
                        r = med_ntfs_index_found(x, name->record, found);
                        return r < 0 ? r : 1;
                }
        return r;
}

int med_ntfs_index_list(const struct med_ntfs_index *x, const char *folder, med_ntfs_visit *visit,
                        void *context)
{
        struct med_ntfs_name name;
        struct med_ntfs_found found;
        uint64_t parent, cursor = 0;
        int r = med_ntfs_index_find(x, folder, &found);

        if (r < 0)
                return r;
        if (!found.directory)
                return -ENOTDIR;
        parent = found.reference;
        while ((r = next(x, parent, &cursor, &name, &found)) > 0) {
                r = visit(context, name.text, &found);
                if (r < 0)
                        return r;
        }
        return r;
}

static bool first_time(struct walk *w, uint64_t reference)
{
        uint64_t number = reference & MED_NTFS_RECORD_MASK;
        uint8_t bit = (uint8_t)(1u << (number & 7));
        bool first = !(w->seen[number >> 3] & bit);

        w->seen[number >> 3] |= bit;
        return first;
}

static int walk_from(struct walk *w, uint64_t folder)
{
        struct med_ntfs_name name;
        struct med_ntfs_found found;
        size_t depth = 1;
        int r;

        w->level[0].reference = folder;
        (void)first_time(w, folder);
        while (depth > 0) {
                size_t at = w->level[depth - 1].path_bytes;

                r = next(w->x, w->level[depth - 1].reference, &w->level[depth - 1].cursor, &name,
                         &found);
                if (r < 0)
                        return r;
                if (r == 0) {
                        depth--;
                        continue;
                }
                if (at + 1 + name.length >= sizeof w->path)
                        return -ENAMETOOLONG;
                w->path[at] = '\\';
                memcpy(w->path + at + 1, name.text, name.length + 1);
                r = w->visit(w->context, w->path, &found);
                if (r < 0)
                        return r;
                if (r > 0 || !found.directory || !first_time(w, found.reference))
                        continue;
                if (depth == DEPTH_MAX)
                        return -ENAMETOOLONG;
                w->level[depth].reference = found.reference;
                w->level[depth].cursor = 0;
                w->level[depth].path_bytes = at + 1 + name.length;
                depth++;
        }
        return 0;
}

int med_ntfs_index_walk(const struct med_ntfs_index *x, const char *folder, med_ntfs_visit *visit,
                        void *context)
{
        _cleanup_free_ struct walk *w = calloc(1, sizeof *w);
        _cleanup_free_ uint8_t *seen = calloc(1, (size_t)(med_ntfs_index_records(x) / 8 + 1));
        struct med_ntfs_found found;
        int r;

        if (!w || !seen)
                return -ENOMEM;
        r = med_ntfs_index_find(x, folder, &found);
        if (r < 0)
                return r;
        if (!found.directory)
                return -ENOTDIR;
        w->x = x;
        w->visit = visit;
        w->context = context;
        w->seen = seen;
        return walk_from(w, found.reference);
}
