/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ctl-import - `job import`: journals become a job. They hold the drives' BitLocker keys, so they
 * are read into locked memory, go into the body of the request, and are wiped. The station parses
 * them, in a process of its own; here only their length and encoding matter. */
#include <fcntl.h>
#include <string.h>

#include "base/secret.h"
#include "ctl/ctl.h"
#include "media/journal.h"

#define JOURNALS_MAX 64

/* As the station gets it: ,"name":"…","text":"…" */
static int add_journal(struct bth_buf *body, const char *path, const struct bth_secret *text,
                       bool first)
{
        const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
        int r = bth_buf_add_string(body, first ? "{\"name\":" : ",{\"name\":");

        if (r >= 0)
                r = ctl_json_add_string(body, name, strlen(name));
        if (r >= 0)
                r = bth_buf_add_string(body, ",\"text\":");
        if (r >= 0)
                r = ctl_json_add_string(body, (const char *)text->data, text->length_bytes);
        return r < 0 ? r : bth_buf_add_string(body, "}");
}

static int read_journal(const char *path, bool first, struct bth_buf *body, struct bth_error *error)
{
        _cleanup_(bth_secret_freep) struct bth_secret *text = NULL;
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
        int r = fd < 0 ? -errno : bth_secret_new_from_fd(fd, MED_JOURNAL_MAX_BYTES, false, &text);

        bth_error_at(error, path, 0, BTH_ERROR_NO_OFFSET);
        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_FILE_UNREADABLE,
                                     "the journal cannot be read: %s", bth_strerror(r));
        if (!bth_utf8_valid((const char *)text->data, text->length_bytes) ||
            !bth_utf8_valid(name, strlen(name)))
                return bth_error_set(error, -EINVAL, BTH_REASON_NOT_TEXT,
                                     "the journal is not UTF-8 text");
        r = add_journal(body, path, text, first);
        return r < 0 ? bth_error_set(error, r, BTH_REASON_OUT_OF_MEMORY,
                                     "there is no memory for the journal")
                     : 0;
}

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

static enum ctl_exit import(struct ctl_client *k, const json_t *members, char **paths, int n)
{
        _cleanup_buf_ struct bth_buf body = { .secret = true };
        struct bth_error error = BTH_ERROR_INIT;
        int r = make_body(members, paths, n, &body, &error);

        if (r >= 0)
                return ctl_client_act(k,
                                      &(struct ctl_ask){ CTL_REQUEST_JOB_IMPORT, .text = &body });
        if (error.code == 0)
                (void)bth_error_set(&error, r, BTH_REASON_OUT_OF_MEMORY,
                                    "there is no memory for the request");
        ctl_fail(k->context, &error);
        return r == -EINVAL ? CTL_EXIT_USAGE : CTL_EXIT_FAILED;
}

static enum ctl_exit run(struct ctl_context *c, int argc, char **argv)
{
        _cleanup_client_ struct ctl_client k = { 0 };
        _cleanup_json_ json_t *members = NULL;
        const char *name = NULL, *account = NULL, *location = NULL;
        const struct ctl_option options[] = {
                { "name", "JOB", "the job's name, 3 to 24 letters, digits and -", .text = &name },
                { "account", "NAME", "the storage account, as the configuration names it",
                  .text = &account },
                { "location", "REGION", "the region of the account", .text = &location },
        };
        char **words;
        int n, r;

        r = ctl_client_options(&k, c, options, ARRAY_SIZE(options), argc, argv, 1, JOURNALS_MAX,
                               &words, &n);
        if (r != 0)
                return ctl_exit_of_options(r);
        if (!name || !account) {
                fprintf(stderr, "%s %s: --name and --account are needed.\n", c->program,
                        c->verb->name);
                return CTL_EXIT_USAGE;
        }
        if (bth_process_forbid_dumps() < 0)
                ctl_warn(c, "a crash may leave the journals' keys in a core dump, ignoring");
        members = json_pack("{s:s, s:s, s:s*}", "name", name, "account", account, "location",
                            location);
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
