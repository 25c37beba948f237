/* SPDX-License-Identifier: GPL-3.0-or-later */
/* prep-source - walking source folders and naming what is found. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/checked.h"
#include "base/str.h"
#include "base/utf.h"
#include "ctl/arena.h"
#include "ctl/prep-source.h"
#include "media/ntfs_upcase.h"

#define COMPONENT_UNITS_MAX 255
#define BLOB_NAME_MAX       1024 /* characters, container not counted */
#define NAME_BYTES_MAX      255  /* of a Linux file name */

struct walk {
        const struct ctl_source_row *row;
        uint32_t row_index;
        bool root_container;
        struct ctl_items *out;
        size_t n_allocated;
        ctl_source_note note;
        void *userdata;
        struct bth_error *error;
        /* The folder under way, in three languages; names are added and taken away. */
        struct bth_buf source, blob, file;
        unsigned depth;
};

/* -- names on the drive
 * ------------------------------------------------------------------------------ */

static bool is_forbidden(unsigned char c)
{
        return c < 0x20 || strchr("<>:\"|?*\\", c) != NULL;
}

/* CON, PRN, AUX, NUL, COM1..9, LPT1..9, alone or before a dot. */
static bool is_device_name(const char *name, size_t n)
{
        static const char *const plain[] = { "CON", "PRN", "AUX", "NUL" };
        char stem[5] = "";
        size_t k = 0;

        while (k < n && k < 5 && name[k] != '.')
                k++;
        if (k < 3 || k > 4)
                return false;
        memcpy(stem, name, k);
        for (size_t i = 0; k == 3 && i < ARRAY_SIZE(plain); i++)
                if (bth_ascii_casecmp(stem, plain[i]) == 0)
                        return true;
        if (k == 4 && stem[3] >= '1' && stem[3] <= '9') {
                stem[3] = '\0';
                return bth_ascii_casecmp(stem, "COM") == 0 || bth_ascii_casecmp(stem, "LPT") == 0;
        }
        return false;
}

/* How many UTF-16 units valid UTF-8 needs. */
static size_t units_of(const char *text, size_t n)
{
        size_t units = 0;

        for (size_t i = 0; i < n; i++) {
                unsigned char c = (unsigned char)text[i];

                if ((c & 0xc0) != 0x80)
                        units += c >= 0xf0 ? 2 : 1;
        }
        return units;
}

/* The longest start of the text, at a character's border, that needs at most `max_units`. */
static size_t cut_to_units(const char *text, size_t n, size_t max_units)
{
        size_t units = 0, i = 0;

        while (i < n) {
                unsigned char c = (unsigned char)text[i];
                size_t length = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;

                units += length == 4 ? 2 : 1;
                if (units > max_units)
                        break;
                i += length;
        }
        return i;
}

char *ctl_drive_component(const char *name, size_t n, char *out)
{
        char *o = out;

        for (size_t i = 0; i < n; i++) {
                unsigned char c = (unsigned char)name[i];
                bool last = i + 1 == n && (c == '.' || c == ' ');

                if (is_forbidden(c) || last || (i == 0 && is_device_name(name, n)))
                        o += snprintf(o, 4, "%%%02X", c);
                else
                        *o++ = (char)c;
        }
        *o = '\0';
        if (units_of(out, (size_t)(o - out)) > COMPONENT_UNITS_MAX)
                out[cut_to_units(out, (size_t)(o - out), COMPONENT_UNITS_MAX - 10)] = '\0';
        return out;
}

static uint64_t upcase_hash(const char *name)
{
        uint8_t units[2 * (COMPONENT_UNITS_MAX + 8)];
        uint64_t h = UINT64_C(0xcbf29ce484222325);
        size_t n = 0;

        if (bth_utf8_to_utf16(name, strlen(name), units, COMPONENT_UNITS_MAX + 8, &n) < 0)
                n = 0;
        med_upcase_apply(med_upcase_default(), units, n);
        for (size_t i = 0; i < 2 * n; i++)
                h = (h ^ units[i]) * UINT64_C(0x100000001b3);
        return h;
}

struct entry {
        char *name;  /* in the source */
        char *drive; /* on the drive */
        struct stat st;
};

struct listing {
        struct entry *entries;
        size_t n, n_allocated;
};

static void listing_clear(struct listing *l)
{
        for (size_t i = 0; i < l->n; i++) {
                free(l->entries[i].name);
                free(l->entries[i].drive);
        }
        free(l->entries);
        *l = (struct listing){ 0 };
}

static int by_name(const void *a, const void *b)
{
        return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

struct hashed {
        uint64_t hash;
        size_t index;
};

static int by_hash(const void *a, const void *b)
{
        const struct hashed *x = a, *y = b;

        if (x->hash != y->hash)
                return x->hash < y->hash ? -1 : 1;
        return x->index < y->index ? -1 : x->index > y->index;
}

/* "report.txt" -> "report~2.txt", short enough for one component. */
static char *with_suffix(const char *name, unsigned number)
{
        const char *dot = strrchr(name, '.');
        size_t stem = dot && dot != name ? (size_t)(dot - name) : strlen(name);
        char *text = NULL;

        stem = MIN(stem, cut_to_units(name, stem, COMPONENT_UNITS_MAX - 24));
        if (asprintf(&text, "%.*s~%u%.*s", (int)stem, name, number,
                     dot && dot != name ? (int)MIN(strlen(dot), (size_t)12) : 0,
                     dot ? dot : "") < 0)
                return NULL;
        if (!bth_utf8_valid(text, strlen(text))) /* the extension was cut inside a character */
                text[cut_to_units(text, stem, COMPONENT_UNITS_MAX)] = '\0';
        return text;
}

/* Gives each entry a name on the drive that no other has, whatever the case. */
static int name_entries(struct listing *l)
{
        _cleanup_free_ struct hashed *order = calloc(MAX(l->n, (size_t)1), sizeof *order);
        bool again = true;

        if (!order)
                return -ENOMEM;
        for (size_t i = 0; i < l->n; i++) {
                struct entry *e = &l->entries[i];
                size_t n = strlen(e->name);

                e->drive = malloc(4 * n + 16);
                if (!e->drive)
                        return -ENOMEM;
                ctl_drive_component(e->name, n, e->drive);
        }
        /* A suffix may meet a name that is there; then go round again. Each round separates at
         * least one. */
        for (unsigned round = 2; again && round < 1000; round++) {
                again = false;
                for (size_t i = 0; i < l->n; i++)
                        order[i] = (struct hashed){ upcase_hash(l->entries[i].drive), i };
                qsort(order, l->n, sizeof *order, by_hash);
                for (size_t i = 1, number = round; i < l->n; i++) {
                        struct entry *e = &l->entries[order[i].index];
                        char *renamed;

                        if (order[i].hash != order[i - 1].hash) {
                                number = round;
                                continue;
                        }
                        renamed = with_suffix(e->drive, (unsigned)number++);
                        if (!renamed)
                                return -ENOMEM;
                        free(e->drive);
                        e->drive = renamed;
                        again = true;
                }
        }
        return again ? -ENAMETOOLONG : 0;
}

/* -- the walk
 * ---------------------------------------------------------------------------------------- */

static int complain(struct walk *w, const char *path, int r, enum bth_reason reason,
                    const char *what)
{
        bth_error_at(w->error, path, 0, BTH_ERROR_NO_OFFSET);
        return bth_error_set(w->error, r, reason, "%s", what);
}

static int cannot_read(struct walk *w, const char *path, int r)
{
        bth_error_at(w->error, path, 0, BTH_ERROR_NO_OFFSET);
        return bth_error_set(w->error, r, BTH_REASON_FILE_UNREADABLE, "it cannot be read: %s",
                             bth_strerror(r));
}

static bool is_page(const struct walk *w, const char *name)
{
        const char *dot = strrchr(name, '.');

        if (w->row->kind != CTL_BLOB_AUTO)
                return w->row->kind == CTL_BLOB_PAGE;
        return dot && (bth_ascii_casecmp(dot, ".vhd") == 0 || bth_ascii_casecmp(dot, ".vhdx") == 0);
}

static int check_blob_name(struct walk *w, const char *source_path, const char *blob_path)
{
        const char *name = strchr(blob_path, '/');
        size_t characters = 0;

        if (!name || name[1] == '\0')
                return complain(w, source_path, -EINVAL, BTH_REASON_NAME_INVALID,
                                "the destination names no blob");
        for (name++; *name; name++)
                characters += ((unsigned char)*name & 0xc0) != 0x80;
        if (characters > BLOB_NAME_MAX)
                return complain(w, source_path, -EINVAL, BTH_REASON_NAME_INVALID,
                                "its blob's name would be longer than 1,024 characters");
        return 0;
}

static int add_item(struct walk *w, const char *source_path, const char *blob_path,
                    const char *file_path, const struct stat *st, bool page)
{
        struct ctl_items *out = w->out;
        struct ctl_item *item;
        int r = check_blob_name(w, source_path, blob_path);

        if (r < 0)
                return r;
        if (page && st->st_size % 512 != 0)
                return complain(w, source_path, -EINVAL, BTH_REASON_VALUE_INVALID,
                                "a page blob's size must be a multiple of 512 bytes");
        if (out->n_items == w->n_allocated) {
                size_t grown = w->n_allocated < 64 ? 64 : w->n_allocated * 2;
                struct ctl_item *p = reallocarray(out->items, grown, sizeof *p);

                if (!p)
                        return -ENOMEM;
                out->items = p;
                w->n_allocated = grown;
        }
        item = &out->items[out->n_items];
        *item = (struct ctl_item){
                .source_path = ctl_arena_string(out->arena, source_path, strlen(source_path)),
                .blob_path = ctl_arena_string(out->arena, blob_path, strlen(blob_path)),
                .file_path = ctl_arena_string(out->arena, file_path, strlen(file_path)),
                .size_bytes = (uint64_t)st->st_size,
                .mtime_sec = st->st_mtim.tv_sec,
                .mtime_nsec = (uint32_t)st->st_mtim.tv_nsec,
                .row = w->row_index,
                .page = page,
        };
        if (!item->source_path || !item->blob_path || !item->file_path)
                return -ENOMEM;
        if (!bth_add_u64(out->total_bytes, item->size_bytes, &out->total_bytes))
                return -EOVERFLOW;
        out->n_items++;
        return 0;
}

static int list_folder(struct walk *w, int fd, struct listing *ret_listing)
{
        DIR *d = fdopendir(fd);
        int r = 0;

        if (!d) {
                r = -errno;
                (void)bth_close(fd);
                return cannot_read(w, w->source.data, r);
        }
        while (r == 0) {
                struct dirent *e;
                struct entry *entry;

                errno = 0;
                e = readdir(d);
                if (!e) {
                        if (errno != 0)
                                r = cannot_read(w, w->source.data, -errno);
                        break;
                }
                if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
                        continue;
                if (ret_listing->n == ret_listing->n_allocated) {
                        size_t grown = MAX(ret_listing->n_allocated * 2, (size_t)32);
                        struct entry *p = reallocarray(ret_listing->entries, grown, sizeof *p);

                        if (!p) {
                                r = -ENOMEM;
                                break;
                        }
                        ret_listing->entries = p;
                        ret_listing->n_allocated = grown;
                }
                entry = &ret_listing->entries[ret_listing->n];
                *entry = (struct entry){ .name = strdup(e->d_name) };
                if (!entry->name) {
                        r = -ENOMEM;
                        break;
                }
                ret_listing->n++;
                if (fstatat(dirfd(d), e->d_name, &entry->st, AT_SYMLINK_NOFOLLOW) < 0) {
                        char path[NAME_BYTES_MAX + 32];

                        r = -errno;
                        (void)snprintf(path, sizeof path, "%s", e->d_name);
                        r = cannot_read(w, path, r);
                }
        }
        closedir(d);
        if (r == 0)
                qsort(ret_listing->entries, ret_listing->n, sizeof *ret_listing->entries, by_name);
        return r;
}

static void cut(struct bth_buf *b, size_t length)
{
        b->length = length;
        b->data[length] = '\0';
}

static int walk_folder(struct walk *w, int fd);

static int enter(struct walk *w, int parent_fd, const struct entry *e)
{
        int fd = openat(parent_fd, e->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        int r;

        if (fd < 0)
                return cannot_read(w, w->source.data, -errno);
        if (w->depth == CTL_ITEM_DEPTH_MAX) {
                (void)bth_close(fd);
                return complain(w, w->source.data, -ELOOP, BTH_REASON_LIMIT_EXCEEDED,
                                "folders are nested more than 512 deep");
        }
        r = bth_buf_add_string(&w->source, "/");
        if (r == 0)
                r = bth_buf_add_string(&w->blob, "/");
        if (r == 0)
                r = bth_buf_add_string(&w->file, "\\");
        if (r < 0) {
                (void)bth_close(fd);
                return r;
        }
        w->depth++;
        r = walk_folder(w, fd);
        w->depth--;
        return r;
}

static void tell(struct walk *w, const char *sentence)
{
        if (w->note)
                w->note(w->userdata, w->source.data, sentence);
}

static int visit(struct walk *w, int folder_fd, const struct entry *e)
{
        size_t units;
        int r = bth_buf_add_string(&w->source, e->name);

        if (r == 0)
                r = bth_buf_add_string(&w->blob, e->name);
        if (r == 0)
                r = bth_buf_add_string(&w->file, e->drive);
        if (r < 0)
                return r;
        if (!bth_utf8_valid(e->name, strlen(e->name)))
                return complain(w, w->source.data, -EINVAL, BTH_REASON_NAME_INVALID,
                                "its name is not UTF-8, and a blob's name must be; rename it");
        units = units_of(w->file.data, w->file.length);
        if (units > CTL_ITEM_PATH_MAX)
                return complain(w, w->source.data, -ENAMETOOLONG, BTH_REASON_NAME_INVALID,
                                "its path on the drive would be longer than 32,767 characters");
        if (S_ISREG(e->st.st_mode))
                return add_item(w, w->source.data, w->blob.data, w->file.data, &e->st,
                                is_page(w, e->name));
        if (S_ISDIR(e->st.st_mode)) {
                if (w->root_container) {
                        tell(w, "folder left out: blobs in $root cannot have '/' in their names");
                        return 0;
                }
                return enter(w, folder_fd, e);
        }
        tell(w, S_ISLNK(e->st.st_mode) ? "symbolic link left out"
                                       : "left out: neither a file nor a folder");
        return 0;
}

/* Takes over `fd`. */
static int walk_folder(struct walk *w, int fd)
{
        const size_t source = w->source.length, blob = w->blob.length, file = w->file.length;
        _cleanup_(listing_clear) struct listing l = { 0 };
        _cleanup_close_ int again = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        int r;

        if (again < 0) {
                r = -errno;
                (void)bth_close(fd);
                return r;
        }
        r = list_folder(w, fd, &l);
        if (r == 0)
                r = name_entries(&l);
        for (size_t i = 0; r == 0 && i < l.n; i++) {
                r = visit(w, again, &l.entries[i]);
                cut(&w->source, source);
                cut(&w->blob, blob);
                cut(&w->file, file);
        }
        return r;
}

static int collect_folder(struct walk *w)
{
        int fd = open(w->row->base_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (fd < 0)
                return cannot_read(w, w->row->base_path, -errno);
        if (!bth_ends_with(w->row->destination, "/")) {
                (void)bth_close(fd);
                bth_error_at(w->error, w->row->base_path, w->row->line, BTH_ERROR_NO_OFFSET);
                return bth_error_set(w->error, -EINVAL, BTH_REASON_VALUE_INVALID,
                                     "a folder's destination must end with '/', and '%s' does not",
                                     w->row->destination);
        }
        return walk_folder(w, fd);
}

static int collect_file(struct walk *w)
{
        const char *path = w->row->base_path, *slash = strrchr(path, '/');
        const char *name = slash ? slash + 1 : path;
        char drive[4 * NAME_BYTES_MAX + 16];
        struct stat st;
        int r;

        if (stat(path, &st) < 0)
                return cannot_read(w, path, -errno);
        if (S_ISDIR(st.st_mode)) {
                (void)complain(w, path, -EINVAL, BTH_REASON_VALUE_INVALID,
                               "this is a folder, but its BasePath does not end with '/'");
                bth_error_advise(w->error, "add a '/' at its end");
                return -EINVAL;
        }
        if (!S_ISREG(st.st_mode))
                return complain(w, path, -EINVAL, BTH_REASON_VALUE_INVALID, "this is not a file");
        if (!bth_utf8_valid(name, strlen(name)) || strlen(name) > NAME_BYTES_MAX)
                return complain(w, path, -EINVAL, BTH_REASON_NAME_INVALID,
                                "its name is not UTF-8 or longer than 255 bytes; rename it");
        r = bth_buf_add_string(&w->file, ctl_drive_component(name, strlen(name), drive));
        if (r < 0)
                return r;
        /* "container/dir/" takes the file's own name; "container/dir/name" is the name. */
        if (bth_ends_with(w->row->destination, "/")) {
                r = bth_buf_add_string(&w->blob, name);
                if (r < 0)
                        return r;
        }
        return add_item(w, path, w->blob.data, w->file.data, &st, is_page(w, name));
}

static int collect_row(struct walk *w, const char *session, bool numbered)
{
        int r = bth_buf_add_string(&w->source, w->row->base_path);

        if (r == 0)
                r = bth_buf_add_string(&w->blob, w->row->destination);
        /* Rows may repeat names: with more than one, each gets a folder of its own. */
        if (r == 0)
                r = numbered ? bth_buf_add_format(&w->file, "\\%s\\%u\\", session, w->row_index + 1)
                             : bth_buf_add_format(&w->file, "\\%s\\", session);
        if (r < 0)
                return r;
        w->root_container = bth_starts_with(w->row->destination, "$root/");
        return bth_ends_with(w->row->base_path, "/") ? collect_folder(w) : collect_file(w);
}

int ctl_items_collect(const struct ctl_source_row *rows, size_t n_rows, const char *session,
                      ctl_source_note note, void *userdata, struct ctl_items *ret_items,
                      struct bth_error *error)
{
        struct ctl_items items = { 0 };
        struct walk w = { .out = &items, .note = note, .userdata = userdata, .error = error };
        int r = ctl_arena_new(&items.arena);

        for (size_t i = 0; r == 0 && i < n_rows; i++) {
                w.row = &rows[i];
                w.row_index = (uint32_t)i;
                r = collect_row(&w, session, n_rows > 1);
                bth_buf_clear(&w.source);
                bth_buf_clear(&w.blob);
                bth_buf_clear(&w.file);
        }
        if (r < 0) {
                ctl_items_clear(&items);
                return r;
        }
        *ret_items = items;
        return 0;
}

void ctl_items_clear(struct ctl_items *items)
{
        free(items->items);
        (void)ctl_arena_free(items->arena);
        *items = (struct ctl_items){ 0 };
}
