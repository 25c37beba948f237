/* SPDX-License-Identifier: GPL-3.0-or-later */
/* journal-write - records, strict, and appended so that a crash costs at most the last one. */
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>

#include "base/io.h"
#include "base/time.h"
#include "media/journal.h"

#define VOCABULARY "2013-02-01"

static bool key_is_writable(const char *key)
{
        return key[0] != '\0' && key[0] != '[' && !strpbrk(key, ":\r\n");
}

/* Could the value be taken for something else when it is read back? */
static bool value_is_writable(const struct med_journal_value *v)
{
        if (!bth_utf8_valid(v->value, strlen(v->value)))
                return false;
        if (v->block)
                return !strstr(v->value, "[EndValue]") && !strstr(v->value, "[BeginUpdateRecord]");
        return !strpbrk(v->value, "\r\n") && !bth_starts_with(v->value, "[BeginValue]") &&
               v->value[0] != ' ' && v->value[0] != '\t';
}

/* The lines of a block, each ended by CRLF whatever it had. */
static int write_lines(struct bth_buf *out, const char *text)
{
        int r = 0;

        while (r == 0 && *text) {
                size_t n = strcspn(text, "\n"), keep = n;

                while (keep > 0 && text[keep - 1] == '\r')
                        keep--;
                r = bth_buf_add(out, text, keep);
                if (r == 0)
                        r = bth_buf_add_string(out, "\r\n");
                text += n + (text[n] == '\n');
        }
        return r;
}

static int write_value(struct bth_buf *out, const struct med_journal_value *v)
{
        int r;

        if (!key_is_writable(v->key) || !value_is_writable(v))
                return -EINVAL;
        if (!v->block)
                return bth_buf_add_format(out, "%s: %s\r\n", v->key, v->value);
        r = bth_buf_add_format(out, "%s: [BeginValue]\r\n", v->key);
        if (r == 0)
                r = write_lines(out, v->value);
        return r < 0 ? r : bth_buf_add_string(out, "[EndValue]\r\n");
}

int med_journal_write_record(struct bth_buf *out, uint64_t realtime_usec, const char *activity,
                             const struct med_journal_value *values, size_t n_values)
{
        const size_t start = out->length;
        char when[BTH_TIME_TEXT_MAX];
        int r;

        if (activity && strpbrk(activity, "\r\n"))
                return -EINVAL;
        r = bth_buf_add_format(out, "[BeginUpdateRecord][%s][Type:%s]\r\n",
                               bth_time_journal(realtime_usec, when),
                               activity ? "ActivityRecord" : "NewJournalFile");
        if (r == 0 && activity)
                r = bth_buf_add_format(out, "ActivityId: %s\r\n", activity);
        for (size_t i = 0; r == 0 && i < n_values; i++)
                r = write_value(out, &values[i]);
        if (r == 0)
                r = bth_buf_add_string(out, "[EndUpdateRecord]\r\n");
        if (r < 0 && out->data) {
                out->length = start;
                out->data[start] = '\0';
        }
        return r;
}

static int write_element(struct bth_buf *out, const char *name, const char *text)
{
        int r;

        if (!text)
                return 0;
        r = bth_buf_add_format(out, "   <%s>", name);
        if (r == 0)
                r = bth_buf_add_xml(out, text);
        return r < 0 ? r : bth_buf_add_format(out, "</%s>\r\n", name);
}

int med_journal_write_drive_state(struct bth_buf *out, const struct med_journal_drive *d)
{
        int r;

        if (!d->drive_id || d->drive_id[0] == '\0')
                return -EINVAL;
        r = bth_buf_add_string(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<Drive>\r\n");
        if (r == 0)
                r = write_element(out, "DriveId", d->drive_id);
        if (r == 0)
                r = write_element(out, "BitLockerKey",
                                  d->bitlocker_key ? (const char *)d->bitlocker_key->data : NULL);
        if (r == 0)
                r = write_element(out, "ManifestFile", d->manifest_file);
        if (r == 0)
                r = write_element(out, "ManifestHash", d->manifest_hash);
        if (r == 0)
                r = write_element(out, "DriveHeaderHash", d->drive_header_hash);
        return r < 0 ? r : bth_buf_add_string(out, "</Drive>\r\n");
}

int med_journal_write_drive(struct bth_buf *out, uint64_t realtime_usec,
                            const struct med_journal_drive *d)
{
        _cleanup_buf_ struct bth_buf xml = { .secret = true };
        int r = med_journal_write_drive_state(&xml, d);

        if (r == 0) {
                const struct med_journal_value values[] = {
                        { "DriveState", xml.data, true },
                        { "SaveCommandOutput", "Completed", false },
                };

                r = med_journal_write_record(out, realtime_usec, "DriveInfo", values,
                                             ARRAY_SIZE(values));
        }
        return r;
}

/* Length up to the end of the last whole record. What stands behind was cut off by a crash; left
 * there, it would swallow the records that follow. */
static size_t whole_length(const char *text, size_t n)
{
        static const char end[] = "[EndUpdateRecord]";
        const char *found = NULL, *p = text;

        while ((p = memmem(p, n - (size_t)(p - text), end, sizeof end - 1))) {
                const bool own_line = p == text || p[-1] == '\n';

                p += sizeof end - 1;
                if (own_line) /* a value may have the words, too */
                        found = p;
        }
        if (!found)
                return 0;
        while ((size_t)(found - text) < n && (*found == '\r' || *found == '\n'))
                found++;
        return (size_t)(found - text);
}

static bool is_utf16(const struct bth_secret *text)
{
        return text->length_bytes >= 2 &&
               (memcmp(text->data, "\xff\xfe", 2) == 0 || memcmp(text->data, "\xfe\xff", 2) == 0);
}

/* Is it a journal, or as much of one as a crash left? Another file, named by mistake, must not be
 * cut to nothing. */
static bool is_journal(const struct bth_secret *text)
{
        static const char begin[] = "[BeginUpdateRecord]";
        const char *p = (const char *)text->data, *end = p + text->length_bytes;

        if (end - p >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0)
                p += 3;
        while (p < end && strchr(" \t\r\n", *p))
                p++;
        return memcmp(p, begin, MIN((size_t)(end - p), sizeof begin - 1)) == 0;
}

/* Makes the file end with a whole record; adds to `out` what must stand in front of new ones. */
static int prepare_end(struct bth_buf *out, int fd, uint64_t realtime_usec)
{
        static const struct med_journal_value version = { "VocabularyVersion", VOCABULARY, false };
        _cleanup_(bth_secret_freep) struct bth_secret *text = NULL;
        size_t whole = 0, length = 0;
        int r = bth_secret_new_from_fd(fd, MED_JOURNAL_MAX_BYTES, false, &text);

        if (r < 0 && r != -ENODATA)
                return r;
        if (text) {
                if (is_utf16(text))
                        return -ENOTSUP;
                if (!is_journal(text))
                        return -EBADMSG;
                length = text->length_bytes;
                whole = whole_length((const char *)text->data, length);
        }
        if (whole < length && ftruncate(fd, (off_t)whole) < 0)
                return -errno;
        if (whole == 0)
                return med_journal_write_record(out, realtime_usec, NULL, &version, 1);
        return text->data[whole - 1] == '\n' ? 0 : bth_buf_add_string(out, "\r\n");
}

int med_journal_append(const char *path, const struct bth_buf *records, uint64_t realtime_usec,
                       struct bth_error *error)
{
        _cleanup_close_ int fd =
                open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0600);
        _cleanup_buf_ struct bth_buf text = { .secret = true };
        int r = fd < 0 ? -errno : 0;

        /* Who appends at the same time must not take a record half written for one cut off by a
         * crash. File systems without locks have no second program either. */
        if (r == 0 && flock(fd, LOCK_EX) < 0 && errno == EINTR)
                r = -EINTR;
        if (r == 0)
                r = prepare_end(&text, fd, realtime_usec);
        if (r == 0)
                r = bth_buf_add(&text, records->data, records->length);
        if (r == 0)
                r = bth_write_full(fd, text.data, text.length);
        if (r == 0 && fsync(fd) < 0)
                r = -errno;
        if (r == 0) /* a new file is durable only when its folder is */
                r = bth_sync_folder_of(path);
        if (r < 0)
                bth_error_at(error, path, 0, BTH_ERROR_NO_OFFSET);
        if (r == -EBADMSG) {
                (void)bth_error_set(error, r, BTH_REASON_NOT_A_JOURNAL,
                                    "the file is no journal and was left as it is");
                bth_error_advise(error, "name a new file, or the journal of this set of drives");
                return r;
        }
        if (r < 0) {
                return bth_error_set(
                        error, r, r == -ENOSPC ? BTH_REASON_DISK_FULL : BTH_REASON_FILE_UNWRITABLE,
                        "the journal cannot be written: %s", bth_strerror(r));
        }
        return 0;
}
