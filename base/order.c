/* SPDX-License-Identifier: GPL-3.0-or-later */
/* order - the tables of fields, and one reader and one writer for all of them. */
#include <string.h>

#include "base/order.h"

#define MEMORY_MIN    (UINT64_C(4) << 20)
#define MEMORY_MAX    (UINT64_C(1) << 40)
#define IN_FLIGHT_MAX 4096
#define AT_ONCE_MAX   256
#define STALL_MAX_SEC 86400
#define ANY           UINT64_MAX

enum kind { TEXT, SECRET, NUMBER, FLAG, WORD };

/* A word of a closed list, as text on the wire. */
struct words {
        const char *(*to_string)(int v);
        int (*from_string)(const char *text);
};

struct field {
        uint16_t tag;
        uint8_t kind;
        bool required;
        uint16_t offset;      /* in struct bth_message */
        uint64_t least, most; /* of a number that is given and not 0; of a text: `most` bytes */
        const struct words *words;
        const char *name; /* for people */
};

#define WORDS(enumeration)                                                       \
        static const char *enumeration##_text(int v)                             \
        {                                                                        \
                return bth_##enumeration##_to_string((enum bth_##enumeration)v); \
        }                                                                        \
        static int enumeration##_value(const char *text)                         \
        {                                                                        \
                return (int)bth_##enumeration##_from_string(text);               \
        }                                                                        \
        static const struct words enumeration##_words = { enumeration##_text, enumeration##_value }

static const char *const activity_names[] = {
#define X(id, name, sentence) name,
        BTH_ACTIVITIES(X)
#undef X
};
static const char *const activity_sentences[] = {
#define X(id, name, sentence) sentence,
        BTH_ACTIVITIES(X)
#undef X
};
static const char *const run_end_names[] = {
#define X(id, name, sentence) name,
        BTH_RUN_ENDS(X)
#undef X
};
static const char *const run_end_sentences[] = {
#define X(id, name, sentence) sentence,
        BTH_RUN_ENDS(X)
#undef X
};
static const char *const verify_names[] = { "full", "readback", "service" };

static int find(const char *const *names, size_t n, const char *name)
{
        for (size_t i = 0; name && i < n; i++)
                if (strcmp(names[i], name) == 0)
                        return (int)i;
        return -EINVAL;
}

const char *bth_activity_to_string(enum bth_activity a)
{
        return (size_t)a < ARRAY_SIZE(activity_names) ? activity_names[a] : NULL;
}

enum bth_activity bth_activity_from_string(const char *name)
{
        return (enum bth_activity)find(activity_names, ARRAY_SIZE(activity_names), name);
}

const char *bth_activity_sentence(enum bth_activity a)
{
        return (size_t)a < ARRAY_SIZE(activity_sentences) ? activity_sentences[a] : "";
}

const char *bth_run_end_to_string(enum bth_run_end e)
{
        return (size_t)e < ARRAY_SIZE(run_end_names) ? run_end_names[e] : NULL;
}

enum bth_run_end bth_run_end_from_string(const char *name)
{
        return (enum bth_run_end)find(run_end_names, ARRAY_SIZE(run_end_names), name);
}

const char *bth_run_end_sentence(enum bth_run_end e)
{
        return (size_t)e < ARRAY_SIZE(run_end_sentences) ? run_end_sentences[e] : "";
}

const char *bth_verify_to_string(enum bth_verify v)
{
        return (size_t)v < ARRAY_SIZE(verify_names) ? verify_names[v] : NULL;
}

enum bth_verify bth_verify_from_string(const char *name)
{
        return (enum bth_verify)find(verify_names, ARRAY_SIZE(verify_names), name);
}

WORDS(disposition);
WORDS(verify);
WORDS(activity);
WORDS(run_end);
WORDS(blob_status);
WORDS(disposition_status);

/* --- tables --- */

#define AT(path) offsetof(struct bth_message, path)
#define TEXT_OF(t, path, need)                                              \
        {                                                                   \
                t, TEXT, need, AT(path), 1, BTH_ORDER_TEXT_MAX, NULL, #path \
        }
#define SECRET_OF(t, path, need)                                                \
        {                                                                       \
                t, SECRET, need, AT(path), 1, BTH_ORDER_SECRET_MAX, NULL, #path \
        }
#define SHORT_OF(t, path, need, most)                         \
        {                                                     \
                t, TEXT, need, AT(path), 1, most, NULL, #path \
        }
#define NUMBER_OF(t, path, least, most)                              \
        {                                                            \
                t, NUMBER, false, AT(path), least, most, NULL, #path \
        }
#define FLAG_OF(t, path)                                    \
        {                                                   \
                t, FLAG, false, AT(path), 0, 1, NULL, #path \
        }
#define WORD_OF(t, path, list)                                       \
        {                                                            \
                t, WORD, true, AT(path), 1, 64, &list##_words, #path \
        }

static const struct field order_fields[] = {
        TEXT_OF(1, order.job, true),
        TEXT_OF(2, order.drive_id, true),
        TEXT_OF(3, order.manifest_path, true),
        TEXT_OF(4, order.manifest_hash, true),
        TEXT_OF(5, order.header_hash, false),
        SECRET_OF(6, order.bitlocker_key, false),
        TEXT_OF(7, order.account, true),
        TEXT_OF(8, order.endpoint, false),
        FLAG_OF(9, order.allow_plain),
        TEXT_OF(10, order.credential_kind, true),
        SECRET_OF(11, order.credential, false),
        TEXT_OF(12, order.ca_file, false),
        TEXT_OF(13, order.proxy, false),
        TEXT_OF(14, order.client_cert, false),
        TEXT_OF(15, order.client_key, false),
        TEXT_OF(16, order.connect_to, false),
        WORD_OF(17, order.default_disposition, disposition),
        WORD_OF(18, order.verify, verify),
        FLAG_OF(19, order.verbose_log),
        FLAG_OF(20, order.manifest_backup),
        FLAG_OF(21, order.manifest_credentials),
        FLAG_OF(22, order.without_range_list),
        FLAG_OF(23, order.guess_content_type),
        FLAG_OF(24, order.no_uring),
        TEXT_OF(25, order.diagnostics, false),
        NUMBER_OF(26, order.started_usec, 0, ANY),
        NUMBER_OF(27, order.memory_bytes, MEMORY_MIN, MEMORY_MAX),
        NUMBER_OF(28, order.bandwidth_bytes_per_sec, 0, ANY),
        NUMBER_OF(29, order.max_in_flight, 1, IN_FLIGHT_MAX),
        NUMBER_OF(30, order.blobs_at_once, 1, AT_ONCE_MAX),
        NUMBER_OF(31, order.stall_sec, 1, STALL_MAX_SEC),
        NUMBER_OF(32, order.cpu_seconds, 1, ANY),
        TEXT_OF(33, order.containers, false),
        TEXT_OF(34, order.identity_client, false),
        TEXT_OF(35, order.identity_endpoint, false),
};

static const struct field credential_fields[] = { SECRET_OF(1, credential.credential, true) };
static const struct field bandwidth_fields[] = { NUMBER_OF(1, bandwidth.bytes_per_sec, 0, ANY) };

static const struct field sandbox_fields[] = {
        FLAG_OF(1, sandbox.no_new_privileges),
        FLAG_OF(2, sandbox.no_dumps),
        FLAG_OF(3, sandbox.system_calls),
        FLAG_OF(4, sandbox.files),
        FLAG_OF(5, sandbox.connections),
        FLAG_OF(6, sandbox.limits),
        FLAG_OF(7, sandbox.uring),
        NUMBER_OF(8, sandbox.landlock_abi, 0, ANY),
        TEXT_OF(9, sandbox.sentence, true),
};

static const struct field activity_fields[] = {
        WORD_OF(1, activity.activity, activity),
        TEXT_OF(2, activity.sentence, false),
};

static const struct field progress_fields[] = {
        NUMBER_OF(1, progress.blobs, 0, ANY),
        NUMBER_OF(2, progress.blobs_done, 0, ANY),
        NUMBER_OF(3, progress.bytes, 0, ANY),
        NUMBER_OF(4, progress.bytes_done, 0, ANY),
        NUMBER_OF(5, progress.bytes_per_sec, 0, ANY),
        NUMBER_OF(6, progress.sent_bytes, 0, ANY),
        NUMBER_OF(7, progress.requests, 0, ANY),
        NUMBER_OF(8, progress.retries, 0, ANY),
        NUMBER_OF(9, progress.throttled, 0, ANY),
        NUMBER_OF(10, progress.refused, 0, ANY),
        NUMBER_OF(11, progress.in_flight, 0, ANY),
        NUMBER_OF(12, progress.limit, 0, ANY),
        NUMBER_OF(13, progress.queued, 0, ANY),
        NUMBER_OF(14, progress.waiting_retry, 0, ANY),
        NUMBER_OF(15, progress.waiting_credentials, 0, ANY),
        NUMBER_OF(16, progress.waiting_disk, 0, ANY),
        NUMBER_OF(17, progress.waiting_cpu, 0, ANY),
        NUMBER_OF(18, progress.waiting_network, 0, ANY),
        NUMBER_OF(19, progress.waiting_throttled, 0, ANY),
        NUMBER_OF(20, progress.waiting_budget, 0, ANY),
        NUMBER_OF(21, progress.budget_bytes, 0, ANY),
        NUMBER_OF(22, progress.budget_taken_bytes, 0, ANY),
};

static const struct field note_fields[] = {
        TEXT_OF(1, note.name, true),     TEXT_OF(2, note.object, false),
        TEXT_OF(3, note.blob, false),    NUMBER_OF(4, note.line, 0, ANY),
        TEXT_OF(5, note.sentence, true), TEXT_OF(6, note.advice, false),
};

static const struct field outcome_fields[] = {
        NUMBER_OF(1, outcome.index, 0, ANY),
        TEXT_OF(2, outcome.blob_path, true),
        TEXT_OF(3, outcome.file_path, true),
        TEXT_OF(4, outcome.name, false),
        WORD_OF(5, outcome.status, blob_status),
        WORD_OF(6, outcome.disposition, disposition_status),
        NUMBER_OF(7, outcome.length_bytes, 0, ANY),
        NUMBER_OF(8, outcome.sent_bytes, 0, ANY),
        FLAG_OF(9, outcome.resumed),
        TEXT_OF(10, outcome.reason, false),
        TEXT_OF(11, outcome.sentence, false),
        TEXT_OF(12, outcome.advice, false),
        NUMBER_OF(13, outcome.offset_bytes, 0, ANY),
};

static const struct field result_fields[] = {
        WORD_OF(1, result.end, run_end),          TEXT_OF(2, result.copy_status, false),
        TEXT_OF(3, result.reason, false),         TEXT_OF(4, result.object, false),
        TEXT_OF(5, result.sentence, false),       TEXT_OF(6, result.advice, false),
        NUMBER_OF(7, result.blobs, 0, ANY),       NUMBER_OF(8, result.completed, 0, ANY),
        NUMBER_OF(9, result.created, 0, ANY),     NUMBER_OF(10, result.renamed, 0, ANY),
        NUMBER_OF(11, result.skipped, 0, ANY),    NUMBER_OF(12, result.overwritten, 0, ANY),
        NUMBER_OF(13, result.failed, 0, ANY),     NUMBER_OF(14, result.bytes, 0, ANY),
        NUMBER_OF(15, result.sent_bytes, 0, ANY), TEXT_OF(16, result.error_log, false),
        TEXT_OF(17, result.verbose_log, false),   TEXT_OF(18, result.manifest, false),
        NUMBER_OF(19, result.line, 0, ANY),
};

static const struct field journal_fields[] = {
        SHORT_OF(1, journal.name, true, BTH_JOURNAL_PATH_MAX),
        NUMBER_OF(2, journal.index, 0, BTH_JOURNALS_MAX - 1),
        NUMBER_OF(3, journal.count, 1, BTH_JOURNALS_MAX),
};

static const struct field journal_drive_fields[] = {
        NUMBER_OF(1, journal_drive.journal, 0, BTH_JOURNALS_MAX - 1),
        NUMBER_OF(2, journal_drive.line, 0, ANY),
        SHORT_OF(3, journal_drive.serial, true, BTH_JOURNAL_SERIAL_MAX),
        SHORT_OF(4, journal_drive.manifest_file, false, BTH_JOURNAL_PATH_MAX),
        SHORT_OF(5, journal_drive.manifest_hash, false, BTH_JOURNAL_HASH_MAX),
        SHORT_OF(6, journal_drive.header_hash, false, BTH_JOURNAL_HASH_MAX),
        { 7, SECRET, false, AT(journal_drive.bitlocker_key), 1, BTH_JOURNAL_KEY_MAX, NULL,
          "journal_drive.bitlocker_key" },
};

static const struct field journal_read_fields[] = {
        NUMBER_OF(1, journal_read.journal, 0, BTH_JOURNALS_MAX - 1),
        NUMBER_OF(2, journal_read.drives, 0, BTH_JOURNAL_DRIVES_MAX),
        SHORT_OF(3, journal_read.vocabulary, false, BTH_JOURNAL_HASH_MAX),
        FLAG_OF(4, journal_read.is_xml),
        FLAG_OF(5, journal_read.cut_off),
};

static const struct field exit_fields[] = {
        NUMBER_OF(1, exit.wait_status, 0, UINT16_MAX),
};

struct table {
        const struct field *fields;
        size_t n;
};

#define TABLE(fields) ((struct table){ fields, ARRAY_SIZE(fields) })

static bool table_of(enum bth_message_type type, struct table *ret)
{
        switch (type) {
        case BTH_MESSAGE_ORDER:
                *ret = TABLE(order_fields);
                return true;
        case BTH_MESSAGE_CREDENTIAL:
                *ret = TABLE(credential_fields);
                return true;
        case BTH_MESSAGE_BANDWIDTH:
                *ret = TABLE(bandwidth_fields);
                return true;
        case BTH_MESSAGE_STOP:
                *ret = (struct table){ NULL, 0 };
                return true;
        case BTH_MESSAGE_SANDBOX:
                *ret = TABLE(sandbox_fields);
                return true;
        case BTH_MESSAGE_ACTIVITY:
                *ret = TABLE(activity_fields);
                return true;
        case BTH_MESSAGE_PROGRESS:
                *ret = TABLE(progress_fields);
                return true;
        case BTH_MESSAGE_NOTE:
                *ret = TABLE(note_fields);
                return true;
        case BTH_MESSAGE_OUTCOME:
                *ret = TABLE(outcome_fields);
                return true;
        case BTH_MESSAGE_RESULT:
                *ret = TABLE(result_fields);
                return true;
        case BTH_MESSAGE_JOURNAL:
                *ret = TABLE(journal_fields);
                return true;
        case BTH_MESSAGE_JOURNAL_DRIVE:
                *ret = TABLE(journal_drive_fields);
                return true;
        case BTH_MESSAGE_JOURNAL_READ:
                *ret = TABLE(journal_read_fields);
                return true;
        case BTH_MESSAGE_EXIT:
                *ret = TABLE(exit_fields);
                return true;
        default:
                return false;
        }
}

/* --- writing --- */

static int add_field(struct bth_frame *f, const struct field *field, const void *at)
{
        const struct bth_secret *secret;
        const char *text;
        uint64_t number;

        switch (field->kind) {
        case TEXT:
                text = *(char *const *)at;
                if (!text)
                        return field->required ? -EINVAL : 0;
                if (!*text || strlen(text) > field->most)
                        return -EINVAL;
                return bth_frame_add_string(f, field->tag, text);
        case SECRET:
                secret = *(struct bth_secret *const *)at;
                if (!secret)
                        return field->required ? -EINVAL : 0;
                if (secret->length_bytes > field->most)
                        return -EINVAL;
                return bth_frame_add_secret(f, field->tag, secret);
        case WORD:
                text = field->words->to_string(*(const int *)at);
                return text ? bth_frame_add_string(f, field->tag, text) : -EINVAL;
        case FLAG:
                return bth_frame_add_u64(f, field->tag, *(const bool *)at);
        default:
                number = *(const uint64_t *)at;
                if (number != 0 && (number < field->least || number > field->most))
                        return -EINVAL;
                return bth_frame_add_u64(f, field->tag, number);
        }
}

int bth_message_to_frame(const struct bth_message *m, struct bth_frame **ret_frame)
{
        _cleanup_(bth_frame_freep) struct bth_frame *f = NULL;
        struct table t;
        int r;

        if (!table_of(m->type, &t))
                return -EINVAL;
        r = bth_frame_new((uint16_t)m->type, &f);
        for (size_t i = 0; r == 0 && i < t.n; i++)
                r = add_field(f, &t.fields[i], (const uint8_t *)m + t.fields[i].offset);
        if (r == 0 && m->type == BTH_MESSAGE_ORDER)
                r = bth_frame_add_fd(f, m->order.drive_fd);
        if (r == 0 && m->type == BTH_MESSAGE_ORDER)
                r = bth_frame_add_fd(f, m->order.state_fd);
        if (r == 0 && m->type == BTH_MESSAGE_JOURNAL)
                r = bth_frame_add_fd(f, m->journal.fd);
        if (r == 0)
                *ret_frame = take_ptr(f);
        return r;
}

/* --- reading --- */

static int get_word(const struct bth_frame *f, const struct field *field, int *ret_value)
{
        _cleanup_free_ char *text = NULL;
        int r = bth_frame_get_string(f, field->tag, &text);

        if (r < 0)
                return r;
        r = field->words->from_string(text);
        if (r < 0)
                return -EBADMSG;
        *ret_value = r;
        return 0;
}

static int get_number(const struct bth_frame *f, const struct field *field, uint64_t *ret_value)
{
        int r = bth_frame_get_u64(f, field->tag, ret_value);

        if (r < 0)
                return r;
        return *ret_value != 0 && (*ret_value < field->least || *ret_value > field->most) ? -ERANGE
                                                                                          : 0;
}

static int get_field(const struct bth_frame *f, const struct field *field, void *at)
{
        const void *data;
        uint64_t number;
        size_t n;
        int r = bth_frame_get_bytes(f, field->tag, &data, &n);

        if (r < 0)
                return r;
        if ((field->kind == TEXT || field->kind == SECRET || field->kind == WORD) &&
            (n == 0 || n > field->most))
                return -ERANGE;
        switch (field->kind) {
        case TEXT:
                return bth_frame_get_string(f, field->tag, at);
        case SECRET:
                return bth_frame_get_secret(f, field->tag, at);
        case WORD:
                return get_word(f, field, at);
        case FLAG:
                r = get_number(f, field, &number);
                if (r == 0)
                        *(bool *)at = number != 0;
                return r;
        default:
                return get_number(f, field, at);
        }
}

static int refuse(struct bth_error *error, const struct field *field, int r)
{
        if (r == -ENOMEM)
                return bth_error_set(error, r, BTH_REASON_OUT_OF_MEMORY, "no memory");
        if (r == -ENOENT)
                return bth_error_set(error, -EBADMSG, BTH_REASON_VALUE_MISSING,
                                     "the message has no %s", field->name);
        return bth_error_set(error, -EBADMSG, BTH_REASON_VALUE_INVALID, "%s is %s", field->name,
                             r == -ERANGE ? "out of bounds" : "malformed");
}

static int take_descriptors(struct bth_frame *f, struct bth_message *m, struct bth_error *error)
{
        int r = 0;

        if (m->type == BTH_MESSAGE_ORDER) {
                r = bth_frame_take_fd(f, 0, &m->order.drive_fd);
                if (r == 0)
                        r = bth_frame_take_fd(f, 1, &m->order.state_fd);
        } else if (m->type == BTH_MESSAGE_JOURNAL)
                r = bth_frame_take_fd(f, 0, &m->journal.fd);
        if (r == 0)
                return 0;
        return bth_error_set(error, -EBADMSG, BTH_REASON_VALUE_MISSING,
                             m->type == BTH_MESSAGE_ORDER
                                     ? "the order came without the drive or without its folder"
                                     : "the journal came without its bytes");
}

int bth_message_from_frame(struct bth_frame *f, struct bth_message *ret_message,
                           struct bth_error *error)
{
        _cleanup_message_ struct bth_message m = { .type = (enum bth_message_type)bth_frame_type(
                                                           f) };
        struct table t;
        int r;

        if (!table_of(m.type, &t)) {
                m.type = BTH_MESSAGE_STOP;
                return bth_error_set(error, -EBADMSG, BTH_REASON_VALUE_INVALID,
                                     "a message of the unknown type %u", bth_frame_type(f));
        }
        if (m.type == BTH_MESSAGE_ORDER)
                m.order.drive_fd = m.order.state_fd = BTH_FD_NONE;
        else if (m.type == BTH_MESSAGE_JOURNAL)
                m.journal.fd = BTH_FD_NONE;
        for (size_t i = 0; i < t.n; i++) {
                r = get_field(f, &t.fields[i], (uint8_t *)&m + t.fields[i].offset);
                if (r < 0 && (r != -ENOENT || t.fields[i].required))
                        return refuse(error, &t.fields[i], r);
        }
        r = take_descriptors(f, &m, error);
        if (r < 0)
                return r;
        *ret_message = m;
        m.type = BTH_MESSAGE_STOP;
        return 0;
}

void bth_message_clear(struct bth_message *m)
{
        struct table t;

        if (!table_of(m->type, &t))
                return;
        for (size_t i = 0; i < t.n; i++) {
                void *at = (uint8_t *)m + t.fields[i].offset;

                if (t.fields[i].kind == TEXT) {
                        free(*(char **)at);
                        *(char **)at = NULL;
                } else if (t.fields[i].kind == SECRET)
                        *(struct bth_secret **)at = bth_secret_free(*(struct bth_secret **)at);
        }
        if (m->type == BTH_MESSAGE_ORDER) {
                m->order.drive_fd = bth_close(m->order.drive_fd);
                m->order.state_fd = bth_close(m->order.state_fd);
        } else if (m->type == BTH_MESSAGE_JOURNAL)
                m->journal.fd = bth_close(m->journal.fd);
        m->type = BTH_MESSAGE_STOP;
}
