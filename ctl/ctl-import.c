/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ctl-import - `job import`: journals become a job. They hold the drives' BitLocker keys, so they
 * are read into locked memory, go into the body of the request, and are wiped. The station parses
 * them, in a process of its own; here only their length and encoding matter. */
#include <fcntl.h>
#include <string.h>

#include "base/order.h"
#include "base/secret.h"
#include "base/utf.h"
#include "ctl/ctl.h"
#include "media/journal.h"

/* ---- journals ---- */

static const char *last_part(const char *path)
{
        const char *slash = strrchr(path, '/');

        return slash ? slash + 1 : path;
}

/* As the station gets it: {"name":"…","text":"…"} */
static int add_journal(struct bth_buf *body, const char *path, const struct bth_secret *text,
                       bool first)
{
        int r = bth_buf_add_string(body, first ? "{\"name\":" : ",{\"name\":");

        if (r >= 0)
                r = ctl_json_add_string(body, last_part(path), strlen(last_part(path)));
        if (r >= 0)
                r = bth_buf_add_string(body, ",\"text\":");
        if (r >= 0)
                r = ctl_json_add_string(body, (const char *)text->data, text->length_bytes);
        return r < 0 ? r : bth_buf_add_string(body, "}");
}

/* What is saved as UTF-16 becomes UTF-8, and an XML declaration that says otherwise becomes blanks:
 * lines keep their numbers. */
static int to_utf8(struct bth_secret **text)
{
        const uint8_t *bytes = (*text)->data;
        const size_t units = (*text)->length_bytes / 2;
        _cleanup_(bth_secret_freep) struct bth_secret *converted = NULL;
        char *out, *end;
        int r;

        if (units < 2 || (*text)->length_bytes % 2 != 0 || bytes[0] != 0xff || bytes[1] != 0xfe)
                return 0;
        r = bth_secret_new(BTH_UTF8_MAX_FROM_UTF16(units), &converted);
        if (r < 0)
                return r;
        out = (char *)converted->data;
        bth_secret_truncate(converted, bth_utf16_to_utf8(bytes + 2, units - 1, out));
        end = bth_starts_with(out, "<?xml") ? strstr(out, "?>") : NULL;
        for (char *p = out; end && p < end + 2; p++)
                if (*p != '\r' && *p != '\n')
                        *p = ' ';
        (void)bth_secret_free(*text);
        *text = take_ptr(converted);
        return 0;
}

static int read_journal(const char *path, bool first, struct bth_buf *body, struct bth_error *error)
{
        _cleanup_(bth_secret_freep) struct bth_secret *text = NULL;
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        int r = fd < 0 ? -errno : bth_secret_new_from_fd(fd, MED_JOURNAL_MAX_BYTES, false, &text);

        bth_error_at(error, path, 0, BTH_ERROR_NO_OFFSET);
        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_FILE_UNREADABLE,
                                     "the journal cannot be read: %s", bth_strerror(r));
        r = to_utf8(&text);
        if (r >= 0 && (!bth_utf8_valid((const char *)text->data, text->length_bytes) ||
                       !bth_utf8_valid(path, strlen(path))))
                return bth_error_set(error, -EINVAL, BTH_REASON_NOT_TEXT,
                                     "the journal is neither UTF-8 nor UTF-16 text");
        if (r >= 0)
                r = add_journal(body, path, text, first);
        return r < 0 ? bth_error_set(error, r, BTH_REASON_OUT_OF_MEMORY,
                                     "there is no memory for the journal")
                     : 0;
}

/* ---- the request ---- */

/* {"name":…,"journals":[…]}: `members` makes the beginning, the rest is written by hand, since a
 * JSON library leaves copies behind. */
static int make_body(const json_t *members, char **paths, int n, struct bth_buf *body,
                     struct bth_error *error)
{
        _cleanup_free_ char *head = bth_json_to_text(members);
        int r;

        if (!head)
                return -ENOMEM;
        head[strlen(head) - 1] = '\0'; /* the closing brace */
        r = bth_buf_add_string(body, head);
        if (r >= 0)
                r = bth_buf_add_string(body, ",\"journals\":[");
        for (int i = 0; r >= 0 && i < n; i++)
                r = read_journal(paths[i], i == 0, body, error);
        return r < 0 ? r : bth_buf_add_string(body, "]}");
}

/* What is odd about the journals. */
static void tell_notes(struct ctl_client *k)
{
        const json_t *note;
        size_t i;

        json_array_foreach(json_object_get(k->answer, "notes"), i, note)
        {
                const char *advice = ctl_text_of(note, "advice");
                uint64_t line = 0;

                (void)ctl_number_of(note, "line", &line);
                ctl_warn(k->context, "%.200s:%llu: %.400s%s%.200s", ctl_text_of(note, "journal"),
                         (unsigned long long)line, ctl_text_of(note, "sentence"),
                         advice[0] != '\0' ? "; " : "", advice);
        }
}

static enum ctl_exit import(struct ctl_client *k, const json_t *members, char **paths, int n)
{
        _cleanup_buf_ struct bth_buf body = { .secret = true };
        struct bth_error error = BTH_ERROR_INIT;
        enum ctl_exit code;
        int r = make_body(members, paths, n, &body, &error);

        if (r >= 0) {
                code = ctl_client_act(k,
                                      &(struct ctl_ask){ CTL_REQUEST_JOB_IMPORT, .text = &body });
                if (!k->context->json)
                        tell_notes(k);
                return code;
        }
        if (error.code == 0)
                (void)bth_error_set(&error, r, BTH_REASON_OUT_OF_MEMORY,
                                    "there is no memory for the request");
        ctl_fail(k->context, &error);
        return r == -EINVAL ? CTL_EXIT_USAGE : CTL_EXIT_FAILED;
}

/* ---- the verb ---- */

struct wishes {
        const char *name, *account, *location;
        bool shipped, verbose, backup;
        int unshipped; /* -1: not said */
};

static int parse_yes(const char *value, void *userdata)
{
        bool yes;
        int r = bth_parse_bool(value, &yes);

        if (r >= 0)
                *(int *)userdata = yes;
        return r;
}

/* NULL when something in it is not UTF-8. */
static json_t *make_members(const struct wishes *w)
{
        json_t *j = json_pack("{s:s*, s:s, s:s*}", "name", w->name, "account", w->account,
                              "location", w->location);

        if (j && w->shipped)
                (void)json_object_set_new(j, "shipped", json_true());
        if (j && w->verbose)
                (void)json_object_set_new(j, "verbose_log", json_true());
        if (j && w->backup)
                (void)json_object_set_new(j, "backup_manifest", json_true());
        if (j && w->unshipped >= 0)
                (void)json_object_set_new(j, "accept_unshipped", json_boolean(w->unshipped));
        return j;
}

static enum ctl_exit run(struct ctl_context *c, int argc, char **argv)
{
        _cleanup_client_ struct ctl_client k = { 0 };
        _cleanup_json_ json_t *members = NULL;
        struct wishes w = { .unshipped = -1 };
        const struct ctl_option options[] = {
                { "name", "NAME", "of the job: 3 to 24 letters, digits and -; else by the journal",
                  .text = &w.name },
                { "account", "NAME", "the storage account, as the configuration names it",
                  .text = &w.account },
                { "location", "REGION", "of the account; the station's when not given",
                  .text = &w.location },
                { "shipped", NULL, "the drives are on their way, or here", .flag = &w.shipped },
                { "accept-unshipped", "YES|NO", "may drives begin before that is said?",
                  .parse = parse_yes, .userdata = &w.unshipped },
                { "verbose-log", NULL, "a verbose copy log, too", .flag = &w.verbose },
                { "backup-manifest", NULL, "copy the drives' manifests to the account, too",
                  .flag = &w.backup },
        };
        char **words;
        int n, r;

        r = ctl_client_options(&k, c, options, ARRAY_SIZE(options), argc, argv, 1,
                               (int)BTH_JOURNALS_MAX, &words, &n);
        if (r != 0)
                return ctl_exit_of_options(r);
        if (!w.account) {
                fprintf(stderr, "%s %s: --account is needed.\n", c->program, c->verb->name);
                return CTL_EXIT_USAGE;
        }
        if (bth_process_forbid_dumps() < 0)
                ctl_warn(c, "a crash may leave the journals' keys in a core dump, ignoring");
        members = make_members(&w);
        if (!members) {
                fprintf(stderr, "%s %s: a name is not UTF-8 text.\n", c->program, c->verb->name);
                return CTL_EXIT_USAGE;
        }
        return import(&k, members, words, n);
}

const struct ctl_verb ctl_job_import = {
        .name = "job import",
        .arguments = "JOURNAL...",
        .summary = "Makes a job of the journals of its drives.",
        .details = "Journals (.jrn) and the per-drive files made from them name the drives, up to "
                   "ten, and hold their\nkeys. The job waits for its drives.",
        .run = run,
};
