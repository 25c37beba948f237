/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ctl-job - what an operator decides about a whole job: shipping, booking in, sending back, taking
 * back, deleting. */
#include "base/io.h"
#include "ctl/ctl.h"

#define ADDRESS_MAX_BYTES ((size_t)16 << 10)

/* ---- ship, return ---- */

/* From a file: it is personal, and every user of the machine may read command lines. */
static int add_address(json_t *body, const char *path, struct bth_error *error)
{
        _cleanup_free_ char *text = NULL;
        json_t *address;
        size_t n;
        int r = bth_read_file(path, ADDRESS_MAX_BYTES, &text, &n);

        bth_error_at(error, path, 0, BTH_ERROR_NO_OFFSET);
        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_FILE_UNREADABLE,
                                     "the address cannot be read: %s", bth_strerror(r));
        r = bth_json_parse(text, n, &address, error);
        return r < 0 ? r : json_object_set_new(body, "return_address", address);
}

/* Both tell of a parcel. */
static enum ctl_exit parcel(struct ctl_context *c, int argc, char **argv, enum ctl_request request)
{
        _cleanup_client_ struct ctl_client k = { 0 };
        _cleanup_json_ json_t *body = NULL;
        const char *carrier = NULL, *tracking = NULL, *address = NULL;
        struct bth_error error = BTH_ERROR_INIT;
        const struct ctl_option options[] = {
                { "carrier", "NAME", "who carries the parcel", .text = &carrier },
                { "tracking", "NUMBER", "the number of the parcel", .text = &tracking },
                { "return-address", "FILE", "where the drives are to go: a JSON object of texts",
                  .text = &address },
        };
        const size_t n_options = ARRAY_SIZE(options) - (request == CTL_REQUEST_JOB_RETURN);
        char **words;
        int n, r;

        r = ctl_client_options(&k, c, options, n_options, argc, argv, 1, 1, &words, &n);
        if (r != 0)
                return ctl_exit_of_options(r);
        if (!carrier || !tracking) {
                fprintf(stderr, "%s %s: --carrier and --tracking are needed.\n", c->program,
                        c->verb->name);
                return CTL_EXIT_USAGE;
        }
        body = json_pack("{s:s, s:s}", "carrier", carrier, "tracking", tracking);
        if (body && address && add_address(body, address, &error) < 0) {
                ctl_fail(c, &error);
                return CTL_EXIT_USAGE;
        }
        return ctl_client_act(&k, &(struct ctl_ask){ request, .target = words[0], .body = body,
                                                     .has_body = true });
}

static enum ctl_exit run_ship(struct ctl_context *c, int argc, char **argv)
{
        return parcel(c, argc, argv, CTL_REQUEST_JOB_SHIP);
}

static enum ctl_exit run_return(struct ctl_context *c, int argc, char **argv)
{
        return parcel(c, argc, argv, CTL_REQUEST_JOB_RETURN);
}

const struct ctl_verb ctl_job_ship = {
        .name = "job ship",
        .arguments = "JOB",
        .summary = "Gives a job its shipping data: its drives are on their way here.",
        .run = run_ship,
};
const struct ctl_verb ctl_job_return = {
        .name = "job return",
        .arguments = "JOB",
        .summary = "Says that the drives of a job were sent back; this ends the job.",
        .run = run_return,
};

/* ---- receive ---- */

static enum ctl_exit run_receive(struct ctl_context *c, int argc, char **argv)
{
        _cleanup_client_ struct ctl_client k = { 0 };
        _cleanup_json_ json_t *body = NULL;
        enum ctl_exit code = CTL_EXIT_OK;
        char **words;
        int n, r;

        r = ctl_client_options(&k, c, NULL, 0, argc, argv, 1, 11, &words, &n);
        if (r != 0)
                return ctl_exit_of_options(r);
        if (n == 1)
                return ctl_client_act(
                        &k, &(struct ctl_ask){ CTL_REQUEST_JOB_RECEIVE, .target = words[0] });
        body = json_pack("{s:s}", "job", words[0]);
        for (int i = 1; i < n && code == CTL_EXIT_OK; i++)
                code = ctl_client_act(&k, &(struct ctl_ask){ CTL_REQUEST_DRIVE_RECEIVE,
                                                             .target = words[i], .body = body,
                                                             .has_body = true });
        return code;
}

const struct ctl_verb ctl_job_receive = {
        .name = "job receive",
        .arguments = "JOB [DRIVE...]",
        .summary = "Books the drives of a job in before they are docked: all, or those named.",
        .run = run_receive,
};

/* ---- cancel, delete ---- */

static enum ctl_exit end(struct ctl_context *c, int argc, char **argv, enum ctl_request request,
                         const char *question)
{
        _cleanup_client_ struct ctl_client k = { 0 };
        char **words;
        int n, r;

        r = ctl_client_options(&k, c, NULL, 0, argc, argv, 1, 1, &words, &n);
        if (r != 0)
                return ctl_exit_of_options(r);
        if (!ctl_confirmed(c, words[0], question))
                return CTL_EXIT_REFUSED;
        return ctl_client_act(&k, &(struct ctl_ask){ request, .target = words[0] });
}

static enum ctl_exit run_cancel(struct ctl_context *c, int argc, char **argv)
{
        return end(
                c, argc, argv, CTL_REQUEST_JOB_CANCEL,
                "Drives that are not being copied yet will be left out, and this cannot be taken "
                "back.");
}

static enum ctl_exit run_delete(struct ctl_context *c, int argc, char **argv)
{
        return end(
                c, argc, argv, CTL_REQUEST_JOB_DELETE,
                "The record of the job and the keys of its drives will be gone, and its files in "
                "the spool.");
}

static enum ctl_exit run_forget(struct ctl_context *c, int argc, char **argv)
{
        return end(
                c, argc, argv, CTL_REQUEST_JOB_FORGET,
                "The addresses and tracking numbers of the job will be gone, and its files in the "
                "spool.");
}

const struct ctl_verb ctl_job_cancel = {
        .name = "job cancel",
        .arguments = "JOB",
        .summary = "Takes a job back: running drives finish, others are skipped.",
        .details = "Asks before, unless --yes is given.",
        .run = run_cancel,
};
const struct ctl_verb ctl_job_delete = {
        .name = "job delete",
        .arguments = "JOB",
        .summary = "Takes a job's record away.",
        .details = "Asks before, unless --yes is given.",
        .run = run_delete,
};
const struct ctl_verb ctl_job_forget = {
        .name = "job forget",
        .arguments = "JOB",
        .summary = "Takes the addresses and tracking numbers of a job that has ended away.",
        .details = "After 90 days that happens by itself. Asks before, unless --yes is given.",
        .run = run_forget,
};
