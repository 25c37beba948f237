/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/prep-account.h"

#include <stdio.h>
#include <string.h>

#include "base/time.h"
#include "uploader/token.h"

#define CREDENTIAL_MAX_BYTES 65536u
#define PAGE_ITEMS           5000u
#define PAGES_MAX            UINT64_C(1000000) /* five thousand million names */
#define ACCOUNT_NAME_MAX     64u

/* ---- opening ---- */

static int usage(struct bth_error *error, const char *sentence)
{
        return bth_error_set(error, -EINVAL, BTH_REASON_USAGE, "%s", sentence);
}

static bool is_this_machine(const char *url)
{
        static const char *const hosts[] = { "http://127.0.0.1", "http://localhost",
                                             "http://[::1]" };

        for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
                const size_t n = strlen(hosts[i]);

                if (strncmp(url, hosts[i], n) == 0 &&
                    (url[n] == ':' || url[n] == '/' || url[n] == '\0'))
                        return true;
        }
        return false;
}

/* Who signs: the first part of the host's name, or of the path where the host is an address. */
static int account_of(const struct upl_endpoint *e, char out[ACCOUNT_NAME_MAX],
                      struct bth_error *error)
{
        const char *name = e->path[0] == '/' ? e->path + 1 : strstr(e->base, "://") + 3;
        const size_t n = strcspn(name, e->path[0] == '/' ? "/" : ".:/");

        if (n == 0 || n >= ACCOUNT_NAME_MAX)
                return usage(error, "the URL names no account");
        memcpy(out, name, n);
        out[n] = '\0';
        return 0;
}

static int read_token(const char *path, struct bth_secret **ret_secret, struct bth_error *error)
{
        struct upl_token token = { 0 };
        int r = upl_token_from_file(path, &token, error);

        if (r == 0)
                *ret_secret = take_ptr(token.text);
        upl_token_clear(&token);
        return r;
}

static int read_credential(const struct ctl_account_options *o, enum upl_credential_kind *ret_kind,
                           struct bth_secret **ret_secret, struct bth_error *error)
{
        const char *path = o->key_file ? o->key_file : o->sas_file ? o->sas_file : o->token_file;
        int r;

        if (!!o->key_file + !!o->sas_file + !!o->token_file != 1)
                return usage(error, "one of --key-file, --sas-file and --token-file is needed");
        bth_error_at(error, path, 0, BTH_ERROR_NO_OFFSET);
        *ret_kind = o->key_file   ? UPL_CREDENTIAL_KEY
                    : o->sas_file ? UPL_CREDENTIAL_SAS
                                  : UPL_CREDENTIAL_BEARER;
        r = o->token_file ? read_token(path, ret_secret, error)
                          : bth_secret_new_from_file(path, CREDENTIAL_MAX_BYTES, true, ret_secret);
        if (r < 0 && (!error || error->code == 0)) {
                (void)bth_error_set(error, r, BTH_REASON_FILE_UNREADABLE,
                                    "the credential cannot be read: %s",
                                    r == -EPERM ? "others may read it" : bth_strerror(r));
                if (r == -EPERM)
                        bth_error_advise(error, "chmod 600 the file");
        }
        return r;
}

static int open_client(struct ctl_account *a, const struct ctl_account_options *o,
                       struct bth_error *error)
{
        _cleanup_(bth_secret_freep) struct bth_secret *secret = NULL;
        const struct upl_http_options http = { .ca_file = o->ca_file };
        struct upl_client_options client = { .retry = UPL_RETRY_POLICY_DEFAULT };
        enum upl_credential_kind kind = UPL_CREDENTIAL_NONE;
        char account[ACCOUNT_NAME_MAX];
        int r = upl_endpoint_parse(o->url, is_this_machine(o->url), &client.endpoint, error);

        /* Somebody sits and waits: no half hour of trying, and no waiting for better keys. */
        client.retry.total_usec = 120 * BTH_USEC_PER_SEC;
        client.retry.credentials_usec = UPL_RETRY_CREDENTIALS_NEVER;
        if (r == 0)
                r = account_of(&client.endpoint, account, error);
        if (r == 0)
                r = read_credential(o, &kind, &secret, error);
        if (r == 0)
                r = upl_credential_new(kind, account, secret, &a->credential, error);
        client.credential = a->credential;
        if (r == 0) {
                r = upl_http_curl_new(&http, &client.http);
                if (r == 0)
                        r = upl_client_new(&client, &a->client);
                if (r < 0)
                        (void)bth_error_set(error, r, BTH_REASON_VALUE_INVALID,
                                            "no connection can be prepared: %s", bth_strerror(r));
        }
        upl_endpoint_clear(&client.endpoint);
        return r;
}

int ctl_account_open(const struct ctl_account_options *options, struct ctl_account **ret_account,
                     struct bth_error *error)
{
        _cleanup_(ctl_account_closep) struct ctl_account *a = NULL;
        int r;

        if (!options->url)
                return usage(error, "--account-url is missing");
        a = calloc(1, sizeof *a);
        if (!a)
                return bth_error_set(error, -ENOMEM, BTH_REASON_OUT_OF_MEMORY, "no memory");
        r = open_client(a, options, error);
        if (r == 0)
                *ret_account = take_ptr(a);
        return r;
}

struct ctl_account *ctl_account_close(struct ctl_account *a)
{
        if (!a)
                return NULL;
        (void)upl_client_free(a->client);
        (void)upl_credential_free(a->credential);
        free(a);
        return NULL;
}

/* ---- looking ---- */

static int next_page(char **marker, char **next)
{
        free(*marker);
        *marker = take_ptr(*next);
        return *marker ? 1 : 0;
}

int ctl_account_containers(struct ctl_account *a, const char *prefix, ctl_container_fn fn,
                           void *userdata, struct bth_error *error)
{
        _cleanup_free_ char *marker = NULL;
        int r = 1;

        for (uint64_t page = 0; r == 1 && page < PAGES_MAX; page++) {
                _cleanup_call_ struct upl_call call = { 0 };
                struct upl_container_names names = { 0 };

                r = upl_list_containers(&call.request, prefix, marker, PAGE_ITEMS);
                if (r == 0)
                        r = upl_client_call(a->client, &call, error);
                if (r == 0)
                        r = upl_answer_containers(call.content->data, call.content->length, &names,
                                                  error);
                for (size_t i = 0; r == 0 && i < names.n; i++)
                        r = fn(userdata, names.items[i]);
                if (r == 0)
                        r = next_page(&marker, &names.next_marker);
                else if (r == 1)
                        r = 2; /* the function has enough */
                upl_container_names_clear(&names);
        }
        return r > 0 ? 0 : r;
}

int ctl_account_blobs(struct ctl_account *a, const char *container, const char *prefix,
                      bool snapshots, ctl_blob_fn fn, void *userdata, struct bth_error *error)
{
        _cleanup_free_ char *marker = NULL;
        int r = 1;

        for (uint64_t page = 0; r == 1 && page < PAGES_MAX; page++) {
                _cleanup_call_ struct upl_call call = { 0 };
                struct upl_blob_items blobs = { 0 };

                r = upl_list_blobs(&call.request, container, prefix, marker, snapshots, PAGE_ITEMS);
                if (r == 0)
                        r = upl_client_call(a->client, &call, error);
                if (r == 0)
                        r = upl_answer_blobs(call.content->data, call.content->length, &blobs,
                                             error);
                for (size_t i = 0; r == 0 && i < blobs.n; i++)
                        r = fn(userdata, container, &blobs.items[i]);
                if (r == 0)
                        r = next_page(&marker, &blobs.next_marker);
                else if (r == 1)
                        r = 2; /* the function has enough */
                upl_blob_items_clear(&blobs);
        }
        return r > 0 ? 0 : r;
}

int ctl_account_look(struct ctl_account *a, const char *container, const char *blob,
                     const char *snapshot, struct ctl_blob_look *ret_look, struct bth_error *error)
{
        const struct upl_target target = { .container = container,
                                           .blob = blob,
                                           .snapshot = snapshot };
        _cleanup_call_ struct upl_call call = { 0 };
        struct ctl_blob_look look = { 0 };
        struct upl_blob_look l;
        int r = upl_get_properties(&call.request, &target);

        if (r == 0)
                r = upl_client_call(a->client, &call, error);
        if (r == 0)
                r = upl_blob_look(call.answer, &l);
        if (r == -EBADMSG)
                return bth_error_set(error, r, BTH_REASON_NETWORK,
                                     "the service's answer about a blob is malformed");
        if (r < 0)
                return r;
        look.length_bytes = l.length_bytes;
        look.page = bth_streq(l.type, "PageBlob");
        look.archived = bth_streq(l.access_tier, "Archive");
        (void)snprintf(look.etag, sizeof look.etag, "%s", l.etag);
        (void)snprintf(look.last_modified, sizeof look.last_modified, "%s",
                       l.last_modified ? l.last_modified : "");
        *ret_look = look;
        return 0;
}
