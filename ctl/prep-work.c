/* SPDX-License-Identifier: GPL-3.0-or-later */
/* prep-work - the plan and the record of a copy session, as lines of JSON. */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "base/str.h"
#include "ctl/arena.h"
#include "ctl/prep-work.h"

#define PLAN_VERSION   1
#define LINE_MAX_BYTES ((size_t)8 << 20)
#define MD5_BYTES      16
#define BUFFER_BYTES   ((size_t)256 << 10)
#define PART_BLOCKS    ((size_t)1 << 16) /* of a file, in one line of the record */

static int file_error(struct bth_error *error, const char *path, int r, enum bth_reason reason,
                      const char *what)
{
        bth_error_at(error, path, 0, BTH_ERROR_NO_OFFSET);
        return bth_error_set(error, r, r == -ENOSPC ? BTH_REASON_DISK_FULL : reason, "%s: %s", what,
                             bth_strerror(r));
}

static int damaged(struct bth_error *error, const char *path, uint64_t line)
{
        bth_error_at(error, path, line, BTH_ERROR_NO_OFFSET);
        (void)bth_error_set(error, -EBADMSG, BTH_REASON_SYNTAX,
                            "the session's own record is damaged here");
        bth_error_advise(error, "prepare the drives again, with a new journal");
        return -EBADMSG;
}

/* -- plan
 * -------------------------------------------------------------------------------------------- */

static int put_line(FILE *f, json_t *object)
{
        int r = -ENOMEM;

        if (object)
                r = json_dumpf(object, f, JSON_COMPACT) < 0 || fputc('\n', f) == EOF ? -EIO : 0;
        json_decref(object);
        return r;
}

static int put_items(FILE *f, const struct ctl_items *items)
{
        int r = 0;

        for (size_t i = 0; r == 0 && i < items->n_items; i++) {
                const struct ctl_item *t = &items->items[i];

                r = put_line(f,
                             json_pack("{s:s, s:s, s:s, s:I, s:I, s:i, s:i, s:i, s:b}", "source",
                                       t->source_path, "blob", t->blob_path, "file", t->file_path,
                                       "size", (json_int_t)t->size_bytes, "mtime",
                                       (json_int_t)t->mtime_sec, "nsec", (int)t->mtime_nsec, "row",
                                       (int)t->row, "drive", (int)t->drive, "page", (int)t->page));
        }
        return r;
}

/* The header but its rows, which get lines of their own: a data set may have very many. */
static int put_header(FILE *f, const json_t *header)
{
        json_t *head = json_copy((json_t *)(uintptr_t)header), *row;
        size_t i;
        int r;

        if (!head)
                return -ENOMEM;
        (void)json_object_del(head, "rows"); /* there may be none */
        r = put_line(f, head);
        json_array_foreach(json_object_get(header, "rows"), i, row)
        {
                if (r == 0)
                        r = put_line(f, json_pack("{s:O}", "session-row", row));
        }
        return r;
}

static int write_plan(const char *path, const json_t *header, const struct ctl_items *items)
{
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        FILE *f;
        int r;

        if (fd < 0)
                return -errno;
        f = fdopen(fd, "w");
        if (!f) {
                (void)bth_close(fd);
                return -ENOMEM;
        }
        errno = 0;
        r = put_header(f, header);
        if (r == 0)
                r = put_items(f, items);
        if (r == 0)
                r = put_line(f, json_pack("{s:I}", "items", (json_int_t)items->n_items));
        if (r == 0 && (fflush(f) != 0 || fsync(fd) < 0))
                r = -errno;
        if (r == -EIO && errno != 0)
                r = -errno;
        fclose(f);
        return r;
}

int ctl_plan_write(const char *path, json_t *header, const struct ctl_items *items,
                   struct bth_error *error)
{
        char temporary[PATH_MAX];
        int r;

        if (access(path, F_OK) == 0) {
                bth_error_at(error, path, 0, BTH_ERROR_NO_OFFSET);
                (void)bth_error_set(error, -EEXIST, BTH_REASON_USAGE,
                                    "this session was started before");
                bth_error_advise(error, "go on with --resume, or choose another session id");
                return -EEXIST;
        }
        if (snprintf(temporary, sizeof temporary, "%s.tmp", path) >= (int)sizeof temporary)
                return -ENAMETOOLONG;
        if (json_object_set_new(header, "version", json_integer(PLAN_VERSION)) < 0)
                return -ENOMEM;
        r = write_plan(temporary, header, items);
        if (r == 0 && rename(temporary, path) < 0)
                r = -errno;
        if (r == 0) /* before the journal says that the session began */
                r = bth_sync_folder_of(path);
        if (r < 0) {
                (void)unlink(temporary);
                return file_error(error, path, r, BTH_REASON_FILE_UNWRITABLE,
                                  "the session's plan cannot be written");
        }
        return 0;
}

/* A number in [0, max]. */
static int get_number(const json_t *line, const char *key, uint64_t max, uint64_t *ret)
{
        uint64_t v;

        if (bth_json_get_u64(line, key, &v) < 0 || v > max)
                return -EBADMSG;
        *ret = v;
        return 0;
}

static int get_text(const json_t *line, const char *key, struct ctl_arena *arena, const char **ret)
{
        const char *text;

        if (bth_json_get_string(line, key, &text) < 0)
                return -EBADMSG;
        *ret = ctl_arena_string(arena, text, strlen(text));
        return *ret ? 0 : -ENOMEM;
}

/* Files from before 1970 have negative times. */
static int get_time(const json_t *line, struct ctl_item *item)
{
        const json_t *seconds = json_object_get(line, "mtime");
        uint64_t nsec;

        if (!json_is_integer(seconds) || get_number(line, "nsec", 999999999, &nsec) < 0)
                return -EBADMSG;
        item->mtime_sec = json_integer_value(seconds);
        item->mtime_nsec = (uint32_t)nsec;
        return 0;
}

static int parse_item(const json_t *line, struct ctl_arena *arena, struct ctl_item *ret_item)
{
        struct ctl_item t = { 0 };
        uint64_t row = 0, drive = 0;
        int r = get_text(line, "source", arena, &t.source_path);

        if (r == 0)
                r = get_text(line, "blob", arena, &t.blob_path);
        if (r == 0)
                r = get_text(line, "file", arena, &t.file_path);
        if (r == 0)
                r = get_number(line, "size", INT64_MAX, &t.size_bytes);
        if (r == 0)
                r = get_time(line, &t);
        if (r == 0)
                r = get_number(line, "row", INT_MAX, &row);
        if (r == 0)
                r = get_number(line, "drive", INT_MAX, &drive);
        if (r == 0 && bth_json_get_bool(line, "page", &t.page) < 0)
                r = -EBADMSG;
        t.row = (uint32_t)row;
        t.drive = (uint32_t)drive;
        if (r == 0)
                *ret_item = t;
        return r;
}

struct loading {
        struct ctl_items items;
        size_t n_allocated;
        json_t *header;
        bool complete;
};

static int take_plan_line(struct loading *l, const char *text, size_t n)
{
        _cleanup_json_ json_t *line = NULL;
        uint64_t count;
        int r = bth_json_parse(text, n, &line, NULL);

        if (r < 0 || l->complete)
                return r < 0 ? r : -EBADMSG;
        if (!l->header) {
                if (get_number(line, "version", PLAN_VERSION, &count) < 0 || count != PLAN_VERSION)
                        return -EBADMSG;
                l->header = take_ptr(line);
                return json_object_set_new(l->header, "rows", json_array()) < 0 ? -ENOMEM : 0;
        }
        if (json_object_get(line, "session-row"))
                return json_array_append(json_object_get(l->header, "rows"),
                                         json_object_get(line, "session-row")) < 0
                               ? -ENOMEM
                               : 0;
        if (bth_json_get_u64(line, "items", &count) == 0) {
                l->complete = count == l->items.n_items;
                return l->complete ? 0 : -EBADMSG;
        }
        if (l->items.n_items == l->n_allocated) {
                size_t grown = MAX(l->n_allocated * 2, (size_t)256);
                struct ctl_item *p = reallocarray(l->items.items, grown, sizeof *p);

                if (!p)
                        return -ENOMEM;
                l->items.items = p;
                l->n_allocated = grown;
        }
        r = parse_item(line, l->items.arena, &l->items.items[l->items.n_items]);
        if (r == 0)
                l->items.total_bytes += l->items.items[l->items.n_items++].size_bytes;
        return r;
}

int ctl_plan_load(const char *path, json_t **ret_header, struct ctl_items *ret_items,
                  struct bth_error *error)
{
        struct loading l = { 0 };
        _cleanup_free_ char *text = NULL;
        size_t allocated = 0;
        uint64_t line = 0;
        FILE *f = fopen(path, "re");
        int r;

        if (!f)
                return file_error(error, path, -errno, BTH_REASON_FILE_UNREADABLE,
                                  "the session's plan cannot be read");
        r = ctl_arena_new(&l.items.arena);
        while (r == 0) {
                ssize_t n = getline(&text, &allocated, f);

                if (n < 0)
                        break;
                line++;
                r = (size_t)n > LINE_MAX_BYTES ? -EBADMSG : take_plan_line(&l, text, (size_t)n);
        }
        fclose(f);
        if (r == 0 && !l.complete)
                r = -EBADMSG;
        if (r < 0) {
                json_decref(l.header);
                ctl_items_clear(&l.items);
                return r == -EBADMSG ? damaged(error, path, line) : r;
        }
        *ret_header = l.header;
        *ret_items = l.items;
        return 0;
}

/* -- done
 * -------------------------------------------------------------------------------------------- */

struct ctl_done {
        int fd;
        uint64_t next; /* number of the next checkpoint */
        struct bth_buf pending;
};

struct done_reader {
        FILE *file;
        const char *path;
        size_t n_items;
        char *text;
        size_t allocated;
        uint64_t line;
        /* End offsets and numbers of the last marks. */
        uint64_t checkpoint_end, ready_end;
        uint64_t checkpoint, ready;
        /* The file whose lines are being read. */
        uint64_t item;
        struct bth_buf hashes;
};

/* 1 and a line, 0 at the end or at a line that was cut off. */
static int next_line(struct done_reader *d, json_t **ret_line)
{
        ssize_t n = getline(&d->text, &d->allocated, d->file);

        if (n < 0)
                return ferror(d->file) ? -EIO : 0;
        d->line++;
        if (d->text[n - 1] != '\n' || (size_t)n > LINE_MAX_BYTES)
                return 0;
        return bth_json_parse(d->text, (size_t)n, ret_line, NULL) < 0 ? 0 : 1;
}

/* First pass: where the last marks are. */
static int find_marks(struct done_reader *d)
{
        int r;

        do {
                _cleanup_json_ json_t *line = NULL;
                uint64_t number;

                r = next_line(d, &line);
                if (r <= 0)
                        break;
                if (bth_json_get_u64(line, "ready", &number) == 0) {
                        d->ready = number;
                        d->ready_end = (uint64_t)ftello(d->file);
                } else if (bth_json_get_u64(line, "checkpoint", &number) == 0) {
                        d->checkpoint = number;
                        d->checkpoint_end = (uint64_t)ftello(d->file);
                }
        } while (r > 0);
        return r;
}

/* Adds the hashes of one line to those of its file. */
static int add_hashes(struct done_reader *d, uint64_t item, const char *hex)
{
        const size_t digits = strlen(hex);
        int r;

        if (digits % (2 * MD5_BYTES) != 0 || (d->hashes.length > 0 && item != d->item))
                return -EBADMSG;
        d->item = item;
        r = bth_buf_reserve(&d->hashes, digits / 2);
        if (r == 0 && bth_hex_decode(hex, digits, (uint8_t *)d->hashes.data + d->hashes.length) < 0)
                r = -EBADMSG;
        if (r == 0)
                d->hashes.length += digits / 2;
        return r;
}

static int take_done_line(struct done_reader *d, const json_t *line, ctl_done_found found,
                          void *userdata)
{
        const char *hex;
        uint64_t item;
        int r;

        if (bth_json_get_u64(line, "item", &item) < 0)
                return 0; /* a mark */
        if (item >= d->n_items)
                return -EBADMSG;
        if (bth_json_get_string(line, "part", &hex) == 0)
                return add_hashes(d, item, hex);
        r = bth_json_get_string(line, "md5", &hex) < 0 ? -EBADMSG : add_hashes(d, item, hex);
        if (r == 0 && found)
                r = found(userdata, (size_t)item, (const uint8_t *)d->hashes.data,
                          d->hashes.length / MD5_BYTES);
        d->hashes.length = 0;
        return r;
}

/* Second pass: the files up to `end`. */
static int tell_found(struct done_reader *d, uint64_t end, ctl_done_found found, void *userdata)
{
        int r = 0;

        rewind(d->file);
        d->line = 0;
        while (r == 0 && (uint64_t)ftello(d->file) < end) {
                _cleanup_json_ json_t *line = NULL;

                r = next_line(d, &line);
                if (r == 0)
                        r = -EBADMSG; /* nothing before a mark may be damaged */
                else if (r > 0)
                        r = take_done_line(d, line, found, userdata);
        }
        return r;
}

static int read_done(struct done_reader *d, bool redo_replayed, ctl_done_found found,
                     void *userdata, uint64_t *ret_end)
{
        int r = find_marks(d);

        if (r < 0)
                return r;
        *ret_end = d->checkpoint_end;
        if (redo_replayed && d->ready_end > d->checkpoint_end)
                *ret_end = d->ready_end;
        return tell_found(d, *ret_end, found, userdata);
}

int ctl_done_open(const char *path, size_t n_items, bool redo_replayed, ctl_done_found found,
                  void *userdata, struct ctl_done **ret_done, struct bth_error *error)
{
        _cleanup_(ctl_done_closep) struct ctl_done *d = calloc(1, sizeof *d);
        struct done_reader reader = { .path = path, .n_items = n_items };
        uint64_t end = 0;
        int fd, r;

        if (!d)
                return -ENOMEM;
        d->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_APPEND, 0600);
        if (d->fd < 0)
                return file_error(error, path, -errno, BTH_REASON_FILE_UNWRITABLE,
                                  "the session's record cannot be opened");
        fd = fcntl(d->fd, F_DUPFD_CLOEXEC, 3);
        reader.file = fd < 0 ? NULL : fdopen(fd, "r");
        if (!reader.file) {
                (void)bth_close(fd);
                return -ENOMEM;
        }
        r = read_done(&reader, redo_replayed, found, userdata, &end);
        fclose(reader.file);
        free(reader.text);
        bth_buf_clear(&reader.hashes);
        if (r == -EBADMSG)
                return damaged(error, path, reader.line);
        if (r == 0 && ftruncate(d->fd, (off_t)end) < 0)
                r = -errno;
        if (r < 0)
                return file_error(error, path, r, BTH_REASON_FILE_UNREADABLE,
                                  "the session's record cannot be read");
        d->next = MAX(reader.checkpoint, redo_replayed ? reader.ready : 0) + 1;
        if (end > reader.checkpoint_end) {
                d->next--;
                r = ctl_done_checkpoint(d);
                if (r < 0)
                        return file_error(error, path, r, BTH_REASON_FILE_UNWRITABLE,
                                          "the session's record cannot be written");
        }
        *ret_done = take_ptr(d);
        return 0;
}

struct ctl_done *ctl_done_close(struct ctl_done *d)
{
        if (d) {
                (void)bth_close(d->fd);
                bth_buf_clear(&d->pending);
                free(d);
        }
        return NULL;
}

static int write_pending(struct ctl_done *d)
{
        int r = bth_write_full(d->fd, d->pending.data, d->pending.length);

        if (r == 0)
                d->pending.length = 0;
        return r;
}

static int add_line(struct ctl_done *d, size_t item, const char *key, const uint8_t *hashes,
                    size_t n_blocks)
{
        _cleanup_free_ char *hex = malloc(2 * MD5_BYTES * n_blocks + 1);
        int r;

        if (!hex)
                return -ENOMEM;
        r = bth_buf_add_format(&d->pending, "{\"item\":%zu,\"%s\":\"%s\"}\n", item, key,
                               bth_hex_encode(hashes, MD5_BYTES * n_blocks, hex));
        if (r == 0 && d->pending.length >= BUFFER_BYTES)
                r = write_pending(d);
        return r;
}

int ctl_done_add(struct ctl_done *d, size_t item, const uint8_t *hashes, size_t n_blocks)
{
        int r = 0;

        for (; r == 0 && n_blocks > PART_BLOCKS; n_blocks -= PART_BLOCKS) {
                r = add_line(d, item, "part", hashes, PART_BLOCKS);
                hashes += PART_BLOCKS * MD5_BYTES;
        }
        return r < 0 ? r : add_line(d, item, "md5", hashes, n_blocks);
}

static int write_mark(struct ctl_done *d, const char *name)
{
        int r = bth_buf_add_format(&d->pending, "{\"%s\":%llu}\n", name,
                                   (unsigned long long)d->next);

        if (r == 0)
                r = write_pending(d);
        if (r == 0 && fsync(d->fd) < 0)
                r = -errno;
        return r;
}

int ctl_done_ready(struct ctl_done *d)
{
        return write_mark(d, "ready");
}

int ctl_done_checkpoint(struct ctl_done *d)
{
        int r = write_mark(d, "checkpoint");

        if (r == 0)
                d->next++;
        return r;
}
