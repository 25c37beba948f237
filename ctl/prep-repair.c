/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/prep-repair.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/str.h"

#define LOG_PIECE_BYTES  ((size_t)256 << 10)
#define MAP_MAX_BYTES    ((size_t)64 << 20)
#define HASH_PIECE_BYTES ((size_t)1 << 20)
#define PATH_MAX_BYTES   8192u

const char *ctl_original_to_string(enum ctl_original o)
{
        static const char *const names[] = { "found", "missing", "ambiguous", "changed",
                                             "unreadable" };

        return (size_t)o < ARRAY_SIZE(names) ? names[o] : NULL;
}

const char *ctl_original_sentence(enum ctl_original o)
{
        static const char *const sentences[] = {
                "its original was found",
                "its original is in none of the folders",
                "more than one folder has an original of it",
                "its original is not what was to be imported: length or content differ",
                "its original cannot be read",
        };

        return (size_t)o < ARRAY_SIZE(sentences) ? sentences[o] : "";
}

/* ---- entries ---- */

static void sidecar_clear(struct ctl_repair_sidecar *s)
{
        free(s->drive_path);
        free(s->original);
}

static void entry_clear(struct ctl_repair_entry *e)
{
        free(e->status);
        free(e->blob_path);
        free(e->drive_path);
        free(e->hashes);
        free(e->original);
        sidecar_clear(&e->metadata);
        sidecar_clear(&e->properties);
}

int ctl_repair_new(struct ctl_repair **ret_repair)
{
        struct ctl_repair *repair = calloc(1, sizeof *repair);
        int r = repair ? bth_digest_new(BTH_DIGEST_SHA256, &repair->digest) : -ENOMEM;

        if (r < 0) {
                free(repair);
                return r;
        }
        *ret_repair = repair;
        return 0;
}

struct ctl_repair *ctl_repair_free(struct ctl_repair *r)
{
        if (!r)
                return NULL;
        for (size_t i = 0; i < r->n; i++)
                entry_clear(&r->entries[i]);
        free(r->entries);
        (void)bth_digest_free(r->digest);
        free(r);
        return NULL;
}

/* ---- logs ---- */

struct reading {
        struct ctl_repair *repair;
        struct bth_error *error;
};

/* Codes of things that were uploaded all the same. */
static bool is_uploaded(const struct med_log_entry *e)
{
        switch (med_log_code_from_string(e->status)) {
        case MED_LOG_CODE_NONE:
        case MED_LOG_CODE_COMPLETED:
        case MED_LOG_CODE_RENAMED:
        case MED_LOG_CODE_CONTAINER_RENAMED:
        case MED_LOG_CODE_SHARE_RENAMED:
        case MED_LOG_CODE_BLOB_RENAMED:
        case MED_LOG_CODE_FILE_RENAMED:
        case MED_LOG_CODE_DISK_RENAMED:
        case MED_LOG_CODE_UPLOAD_NONE:
                return true;
        default:
                return !e->status || !e->status[0] || bth_streq(e->type, "Container");
        }
}

/* Newer logs mix both separators. */
static char *blob_path_of(const char *path)
{
        char *copy = strdup(path + strspn(path, "/\\"));

        for (char *c = copy; c && *c; c++)
                if (*c == '\\')
                        *c = '/';
        return copy;
}

static char *drive_path_of(const char *blob_path)
{
        char *path;

        if (asprintf(&path, "\\%s", blob_path) < 0)
                return NULL;
        for (char *c = path; *c; c++)
                if (*c == '/')
                        *c = '\\';
        return path;
}

static int take_sidecar(const struct med_log_sidecar *from, struct ctl_repair_sidecar *to)
{
        const char *path = from->path ? from->path : from->global_path;
        const char *hash = from->path ? from->hash : from->global_hash;

        if (!path || !path[0])
                return 0;
        to->drive_path = strdup(path);
        to->has_md5 = hash && strlen(hash) == 2 * BTH_MD5_BYTES &&
                      bth_hex_decode(hash, 2 * BTH_MD5_BYTES, to->md5) == 0;
        return to->drive_path ? 0 : -ENOMEM;
}

static int take_hashes(const struct med_log_entry *from, struct ctl_repair_entry *to)
{
        if (from->n_ranges == 0)
                return 0;
        to->hashes = calloc(from->n_ranges, sizeof *to->hashes);
        if (!to->hashes)
                return -ENOMEM;
        for (size_t i = 0; i < from->n_ranges; i++) {
                const struct med_log_range *range = &from->ranges[i];
                struct ctl_repair_hash *h = &to->hashes[to->n_hashes];

                if (!range->hash || strlen(range->hash) != 2 * BTH_MD5_BYTES ||
                    bth_hex_decode(range->hash, 2 * BTH_MD5_BYTES, h->md5) < 0)
                        continue;
                h->offset_bytes = range->offset_bytes;
                h->length_bytes = range->length_bytes;
                to->n_hashes++;
        }
        return 0;
}

/* A blob that this import made or replaced is ours: what is there of it is to be replaced. */
static void take_disposition(const struct med_log_entry *from, struct ctl_repair_entry *to)
{
        const enum bth_disposition_status was =
                bth_disposition_status_from_string(from->disposition_status);
        const enum bth_disposition asked = bth_disposition_from_string(from->disposition);

        to->has_disposition = true;
        if (was == BTH_DISPOSITION_STATUS_CREATED || was == BTH_DISPOSITION_STATUS_RENAMED ||
            was == BTH_DISPOSITION_STATUS_OVERWRITTEN)
                to->disposition = BTH_DISPOSITION_OVERWRITE;
        else if ((int)asked >= 0)
                to->disposition = asked;
        else
                to->has_disposition = false;
}

static bool is_page(const struct med_log_entry *e)
{
        return e->page || bth_streq(e->cloud_format, "PageBlob");
}

static int add_entry(struct ctl_repair *repair, struct ctl_repair_entry **ret_entry)
{
        if (repair->n == CTL_REPAIR_ENTRIES_MAX)
                return -E2BIG;
        if (repair->n == repair->allocated) {
                const size_t want = repair->allocated * 2 + 64;
                struct ctl_repair_entry *p = reallocarray(repair->entries, want, sizeof *p);

                if (!p)
                        return -ENOMEM;
                repair->entries = p;
                repair->allocated = want;
        }
        *ret_entry = &repair->entries[repair->n++];
        **ret_entry = (struct ctl_repair_entry){ .state = CTL_ORIGINAL_MISSING };
        return 0;
}

static int take_entry(void *userdata, const struct med_log_entry *e)
{
        struct reading *reading = userdata;
        struct ctl_repair_entry *to;
        int r;

        if (is_uploaded(e) || !e->blob_path)
                return 0;
        r = add_entry(reading->repair, &to);
        if (r == -E2BIG)
                return bth_error_set(reading->error, r, BTH_REASON_LIMIT_EXCEEDED,
                                     "more than %u entries failed", CTL_REPAIR_ENTRIES_MAX);
        if (r < 0)
                return r;
        to->line = e->line;
        to->azure_file = e->is_file || bth_streq(e->cloud_format, "AzureFile");
        to->page = is_page(e);
        to->has_length = e->has_length;
        to->length_bytes = e->length_bytes;
        to->status = strdup(e->status);
        to->blob_path = blob_path_of(e->blob_path);
        if (to->blob_path)
                to->drive_path = e->file_path && e->file_path[0] ? strdup(e->file_path)
                                                                 : drive_path_of(to->blob_path);
        if (!to->status || !to->drive_path)
                return -ENOMEM;
        take_disposition(e, to);
        r = take_hashes(e, to);
        if (r == 0)
                r = take_sidecar(&e->metadata, &to->metadata);
        return r < 0 ? r : take_sidecar(&e->properties, &to->properties);
}

static int feed_all(int fd, struct ctl_repair *repair, struct med_log_reader *reader,
                    struct bth_error *error)
{
        _cleanup_free_ char *piece = malloc(LOG_PIECE_BYTES);
        ssize_t n = 1;
        int r = piece ? 0 : -ENOMEM;

        while (r == 0 && n > 0) {
                n = read(fd, piece, LOG_PIECE_BYTES);
                if (n < 0 && errno == EINTR) {
                        n = 1;
                        continue;
                }
                if (n < 0)
                        return bth_error_set(error, -errno, BTH_REASON_FILE_UNREADABLE,
                                             "it cannot be read: %s", bth_strerror(-errno));
                r = bth_digest_update(repair->digest, piece, (size_t)n);
                if (r == 0 && n > 0)
                        r = med_log_feed(reader, piece, (size_t)n, error);
        }
        return r;
}

int ctl_repair_read_log(struct ctl_repair *repair, const char *path,
                        const struct med_findings *findings, struct bth_error *error)
{
        _cleanup_(med_log_reader_freep) struct med_log_reader *reader = NULL;
        struct reading reading = { repair, error };
        struct med_log_summary summary = { 0 };
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        int r;

        bth_error_at(error, path, 0, BTH_ERROR_NO_OFFSET);
        if (fd < 0)
                return bth_error_set(error, -errno, BTH_REASON_FILE_UNREADABLE,
                                     "it cannot be opened: %s", bth_strerror(-errno));
        r = med_log_reader_new(findings, take_entry, &reading, &reader);
        if (r == 0)
                r = feed_all(fd, repair, reader, error);
        if (r == 0)
                r = med_log_finish(reader, &summary, error);
        if (r == 0)
                med_log_summary_clear(&summary);
        return r;
}

/* ---- path map ---- */

struct map_line {
        char *drive_path; /* in the map's text */
        char *real_path;  /* NULL: not filled in */
};

struct map {
        char *text;
        struct map_line *lines;
        size_t n;
};

static void map_clear(struct map *m)
{
        free(m->text);
        free(m->lines);
}

/* Where the drive's path ends: at a tab, or where pages have rendered it so at two or more blanks
 * before an absolute path. */
static char *separator_of(char *line, char **ret_real)
{
        char *tab = strchr(line, '\t'), *blanks = line;

        if (tab) {
                *ret_real = tab + strspn(tab, "\t ");
                return tab;
        }
        while ((blanks = strstr(blanks, "  "))) {
                *ret_real = blanks + strspn(blanks, " ");
                if (**ret_real == '/')
                        return blanks;
                blanks = *ret_real;
        }
        return NULL;
}

static int by_drive_path(const void *pa, const void *pb)
{
        const struct map_line *a = pa, *b = pb;

        return strcmp(a->drive_path, b->drive_path);
}

static int map_line(struct map *m, char *line, uint64_t number, struct bth_error *error)
{
        char *real = NULL, *end = separator_of(line, &real);

        if (line[0] == '\0')
                return 0;
        if (end)
                *end = '\0';
        if (real && real[0] != '\0' && real[0] != '/') {
                bth_error_at(error, NULL, number, BTH_ERROR_NO_OFFSET);
                return bth_error_set(error, -EBADMSG, BTH_REASON_VALUE_INVALID,
                                     "'%s' is not an absolute path", real);
        }
        m->lines[m->n++] = (struct map_line){ line, real && real[0] ? real : NULL };
        return 0;
}

static int map_load(const char *path, struct map *m, struct bth_error *error)
{
        uint64_t number = 0;
        size_t n, n_lines = 1;
        char *rest, *line;
        int r = path ? bth_read_file(path, MAP_MAX_BYTES, &m->text, &n) : -ENOENT;

        if (r == -ENOENT)
                return 0;
        bth_error_at(error, path, 0, BTH_ERROR_NO_OFFSET);
        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_FILE_UNREADABLE,
                                     "the path map cannot be read: %s", bth_strerror(r));
        for (size_t i = 0; i < n; i++)
                n_lines += m->text[i] == '\n';
        m->lines = calloc(n_lines, sizeof *m->lines);
        if (!m->lines)
                return -ENOMEM;
        rest = m->text;
        while (r == 0 && (line = strsep(&rest, "\n"))) {
                line[strcspn(line, "\r")] = '\0';
                r = map_line(m, line, ++number, error);
        }
        qsort(m->lines, m->n, sizeof *m->lines, by_drive_path);
        return r;
}

static const char *map_find(const struct map *m, const char *drive_path)
{
        const struct map_line key = { .drive_path = (char *)(uintptr_t)drive_path };
        const struct map_line *found =
                m->n > 0 ? bsearch(&key, m->lines, m->n, sizeof key, by_drive_path) : NULL;

        return found ? found->real_path : NULL;
}

/* ---- originals ---- */

struct search {
        const char *const *folders;
        size_t n_folders;
        const struct map *map;
};

/* Is there a file at FOLDER/rest? Names that would lead out of the folder are not followed. */
static bool look_below(const char *folder, const char *rest, char out[PATH_MAX_BYTES],
                       struct stat *ret_st)
{
        int n = snprintf(out, PATH_MAX_BYTES, "%s/%s", folder, rest);

        return n > 0 && (size_t)n < PATH_MAX_BYTES && lstat(out, ret_st) == 0 &&
               S_ISREG(ret_st->st_mode);
}

static bool has_parent_component(const char *path)
{
        for (const char *at = path; *at; at += strcspn(at, "/"), at += strspn(at, "/"))
                if (strncmp(at, "..", 2) == 0 && (at[2] == '/' || at[2] == '\0'))
                        return true;
        return false;
}

/* Tries the ends of `path`, the longest first. */
static enum ctl_original find_ends(const struct search *s, const char *path, char **ret_original)
{
        _cleanup_free_ char *copy = blob_path_of(path);

        if (!copy || has_parent_component(copy))
                return CTL_ORIGINAL_MISSING;
        for (const char *end = copy; *end; end += strcspn(end, "/"), end += strspn(end, "/")) {
                char found[PATH_MAX_BYTES], other[PATH_MAX_BYTES];
                struct stat first = { 0 }, st;
                bool any = false;

                for (size_t i = 0; i < s->n_folders; i++) {
                        if (!look_below(s->folders[i], end, any ? other : found, &st))
                                continue;
                        if (any && (st.st_dev != first.st_dev || st.st_ino != first.st_ino))
                                return CTL_ORIGINAL_AMBIGUOUS;
                        if (!any)
                                first = st;
                        any = true;
                }
                if (any) {
                        *ret_original = strdup(found);
                        return *ret_original ? CTL_ORIGINAL_FOUND : CTL_ORIGINAL_UNREADABLE;
                }
        }
        return CTL_ORIGINAL_MISSING;
}

static int md5_of_range(int fd, uint64_t offset, uint64_t length, uint8_t ret_md5[BTH_MD5_BYTES])
{
        _cleanup_(bth_digest_freep) struct bth_digest *digest = NULL;
        _cleanup_free_ uint8_t *piece = malloc(HASH_PIECE_BYTES);
        int r = piece ? bth_digest_new(BTH_DIGEST_MD5, &digest) : -ENOMEM;

        for (uint64_t at = 0; r == 0 && at < length; at += HASH_PIECE_BYTES) {
                const size_t n = (size_t)MIN(length - at, (uint64_t)HASH_PIECE_BYTES);

                r = bth_pread_full(fd, piece, n, offset + at);
                if (r == 0)
                        r = bth_digest_update(digest, piece, n);
        }
        return r < 0 ? r : bth_digest_finish(digest, ret_md5);
}

static enum ctl_original verify(const struct ctl_repair_entry *e, const char *path)
{
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        uint8_t md5[BTH_MD5_BYTES];
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
                return CTL_ORIGINAL_UNREADABLE;
        if (e->has_length && (uint64_t)st.st_size != e->length_bytes)
                return CTL_ORIGINAL_CHANGED;
        for (size_t i = 0; i < e->n_hashes; i++) {
                const struct ctl_repair_hash *h = &e->hashes[i];
                int r = md5_of_range(fd, h->offset_bytes, h->length_bytes, md5);

                if (r == -ENODATA || (r == 0 && memcmp(md5, h->md5, sizeof md5) != 0))
                        return CTL_ORIGINAL_CHANGED;
                if (r < 0)
                        return CTL_ORIGINAL_UNREADABLE;
        }
        return CTL_ORIGINAL_FOUND;
}

/* Best effort: without its original the blob is repaired without it, and that is told. */
static void find_sidecar(const struct search *s, struct ctl_repair_sidecar *sidecar)
{
        _cleanup_free_ char *path = NULL;
        const char *mapped = sidecar->drive_path ? map_find(s->map, sidecar->drive_path) : NULL;
        struct ctl_repair_entry as_entry = { 0 };
        struct ctl_repair_hash hash = { 0 };
        struct stat st;

        if (!sidecar->drive_path)
                return;
        if (mapped)
                path = strdup(mapped);
        else if (find_ends(s, sidecar->drive_path, &path) != CTL_ORIGINAL_FOUND)
                return;
        if (!path || stat(path, &st) < 0)
                return;
        if (sidecar->has_md5) {
                hash.length_bytes = (uint64_t)st.st_size;
                memcpy(hash.md5, sidecar->md5, sizeof hash.md5);
                as_entry.hashes = &hash;
                as_entry.n_hashes = 1;
        }
        if (verify(&as_entry, path) == CTL_ORIGINAL_FOUND)
                sidecar->original = take_ptr(path);
}

static void find_original(const struct search *s, struct ctl_repair_entry *e)
{
        const char *mapped = map_find(s->map, e->drive_path);
        const char *name = strchr(e->blob_path, '/');
        _cleanup_free_ char *path = NULL;

        if (mapped) {
                path = strdup(mapped);
                e->state = path ? CTL_ORIGINAL_FOUND : CTL_ORIGINAL_UNREADABLE;
        } else {
                e->state = find_ends(s, e->drive_path, &path);
                /* Names that NTFS cannot have are changed on the drive; the blob has the
                 * original's.
                 */
                if (e->state == CTL_ORIGINAL_MISSING && name)
                        e->state = find_ends(s, name + 1, &path);
        }
        if (e->state == CTL_ORIGINAL_FOUND)
                e->state = verify(e, path);
        if (e->state == CTL_ORIGINAL_FOUND)
                e->original = take_ptr(path);
        find_sidecar(s, &e->metadata);
        find_sidecar(s, &e->properties);
}

int ctl_repair_find(struct ctl_repair *repair, const char *const *folders, size_t n_folders,
                    const char *path_map, struct bth_error *error)
{
        struct map map = { 0 };
        const struct search s = { folders, n_folders, &map };
        int r = map_load(path_map, &map, error);

        if (r == 0)
                r = bth_digest_finish(repair->digest, repair->identity);
        for (size_t i = 0; r == 0 && i < repair->n; i++)
                find_original(&s, &repair->entries[i]);
        map_clear(&map);
        return r;
}

/* A log may hold anything; what would be more than one line of the map is not written there. */
static bool is_one_line(const char *path)
{
        for (const char *c = path; *c; c++)
                if ((unsigned char)*c < ' ')
                        return false;
        return true;
}

int ctl_repair_write_map(const struct ctl_repair *repair, const char *path, struct bth_error *error)
{
        _cleanup_buf_ struct bth_buf text = BTH_BUF_INIT;
        struct map map = { 0 };
        int r = map_load(path, &map, error);

        for (size_t i = 0; r == 0 && i < map.n; i++)
                if (map.lines[i].real_path)
                        r = bth_buf_add_format(&text, "%s\t%s\n", map.lines[i].drive_path,
                                               map.lines[i].real_path);
        for (size_t i = 0; r == 0 && i < repair->n; i++)
                if (repair->entries[i].state != CTL_ORIGINAL_FOUND &&
                    is_one_line(repair->entries[i].drive_path) &&
                    !map_find(&map, repair->entries[i].drive_path))
                        r = bth_buf_add_format(&text, "%s\n", repair->entries[i].drive_path);
        map_clear(&map);
        if (r == 0)
                r = bth_write_file_atomic(path, text.data ? text.data : "", text.length, 0644);
        bth_error_at(error, path, 0, BTH_ERROR_NO_OFFSET);
        if (r < 0 && (!error || error->code == 0))
                return bth_error_set(error, r, BTH_REASON_FILE_UNWRITABLE,
                                     "the path map cannot be written: %s", bth_strerror(r));
        return r;
}
