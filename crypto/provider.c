/* SPDX-License-Identifier: GPL-3.0-or-later */
/* provider - the view, or a mapping that removes itself. */
#include <fcntl.h>
#include <libcryptsetup.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/guid.h"
#include "base/log.h"
#include "crypto/provider.h"
#include "crypto/view.h"

#define MAPPER_CONTROL "/dev/mapper/control"
#define NAME_BYTES     (sizeof "berth-" + BTH_GUID_TEXT_MAX)

static const char *const names[] = { "userspace", "dm-crypt" };

const char *cry_provider_to_string(enum cry_provider p)
{
        return (size_t)p < ARRAY_SIZE(names) ? names[p] : NULL;
}

enum cry_provider cry_provider_from_string(const char *text)
{
        for (size_t i = 0; text && i < ARRAY_SIZE(names); i++)
                if (strcmp(text, names[i]) == 0)
                        return (enum cry_provider)i;
        return _CRY_PROVIDER_INVALID;
}

static int missing(struct bth_error *error, const char *what)
{
        (void)bth_error_set(error, -ENOTSUP, BTH_REASON_UNSUPPORTED,
                            "dm-crypt cannot be used here: %s", what);
        bth_error_advise(error, "set unlock = userspace");
        return -ENOTSUP;
}

int cry_provider_check(enum cry_provider p, struct bth_error *error)
{
        if (p == CRY_PROVIDER_USERSPACE)
                return 0;
        if (access(MAPPER_CONTROL, F_OK) < 0)
                return missing(error,
                               "the kernel has no device-mapper (" MAPPER_CONTROL " is not there)");
        if (access(MAPPER_CONTROL, R_OK | W_OK) < 0 || geteuid() != 0)
                return missing(error, "mapping a device needs root");
        return 0;
}

/* -- dm-crypt -- */

struct mapping {
        struct bth_source base;
        struct bth_source *below;
        bool removes_itself;
        char name[NAME_BYTES];
};

static void on_log(int level, const char *message, void *userdata)
{
        bth_debug("libcryptsetup: %s", message);
}

static void mapping_free(struct bth_source *s)
{
        struct mapping *m = container_of(s, struct mapping, base);

        (void)bth_source_free(m->below);
        if (!m->removes_itself && m->name[0] != '\0' &&
            crypt_deactivate_by_name(NULL, m->name, 0) < 0)
                bth_debug("the mapping %s cannot be removed, ignoring", m->name);
        free(m);
}

static int mapping_read(struct bth_source *s, uint64_t offset_bytes, void *buffer,
                        size_t length_bytes)
{
        return bth_source_read(container_of(s, struct mapping, base)->below, offset_bytes, buffer,
                               length_bytes);
}

static int mapping_read_many(struct bth_source *s, struct bth_read *reads, size_t n_reads)
{
        return bth_source_read_many(container_of(s, struct mapping, base)->below, reads, n_reads);
}

/* libcryptsetup wants the two keys of AES-CBC-128 with diffuser without the filler between. */
static int kernel_key(const struct cry_unlocked *u, struct bth_secret **ret_key)
{
        int r = bth_secret_new_copy(u->key->data, u->key->length_bytes, ret_key);

        if (r == 0 && u->method == CRY_METHOD_AES_CBC_128_ELEPHANT) {
                memcpy((*ret_key)->data + 16, u->key->data + 32, 16);
                bth_secret_truncate(*ret_key, 32);
        }
        return r;
}

static int activate(int fd, const char *name, const struct bth_secret *key)
{
        struct crypt_device *cd = NULL;
        char path[40];
        int r;

        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        crypt_set_log_callback(NULL, on_log, NULL);
        r = crypt_init(&cd, path);
        if (r < 0)
                return r;
        crypt_set_log_callback(cd, on_log, NULL);
        r = crypt_load(cd, CRYPT_BITLK, NULL);
        if (r == 0)
                r = crypt_activate_by_volume_key(cd, name, (const char *)key->data,
                                                 key->length_bytes,
                                                 CRYPT_ACTIVATE_READONLY | CRYPT_ACTIVATE_PRIVATE);
        crypt_free(cd);
        return r < 0 ? r : 0;
}

/* A name that nothing else has, and no link that udev makes. */
static int make_name(char name[NAME_BYTES])
{
        char text[BTH_GUID_TEXT_MAX];
        struct bth_guid id;
        int r = bth_guid_random(&id);

        if (r == 0)
                (void)snprintf(name, NAME_BYTES, "berth-%s", bth_guid_to_string(&id, text));
        return r;
}

/* Opens the mapping, then lets the kernel remove it when it is closed. */
static int open_mapping(struct mapping *m)
{
        char path[sizeof "/dev/mapper/" + NAME_BYTES];
        int fd;

        (void)snprintf(path, sizeof path, "/dev/mapper/%s", m->name);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        m->removes_itself = crypt_deactivate_by_name(NULL, m->name, CRYPT_DEACTIVATE_DEFERRED) == 0;
        return bth_source_new_fd(fd, true, &m->below);
}

static int refuse_for_kernel(const struct cry_encrypted *e, struct bth_error *error)
{
        struct stat st;

        if (e->metadata->state != CRY_VOLUME_ENCRYPTED)
                return missing(error, "the kernel maps only volumes that are wholly encrypted");
        if (e->metadata->warnings & CRY_WARNING_TRUNCATED)
                return missing(error, "the device is shorter than its volume");
        if (fstat(e->volume_fd, &st) < 0)
                return -errno;
        return S_ISBLK(st.st_mode) ? 0 : missing(error, "the volume is not a block device");
}

static int open_dm_crypt(const struct cry_encrypted *e, struct bth_source **ret_plain,
                         struct bth_error *error)
{
        static const struct bth_source_ops ops = {
                .read = mapping_read,
                .read_many = mapping_read_many,
                .free = mapping_free,
        };
        _cleanup_(bth_secret_freep) struct bth_secret *key = NULL;
        char name[NAME_BYTES];
        struct mapping *m;
        int r = cry_provider_check(CRY_PROVIDER_DM_CRYPT, error);

        if (r == 0)
                r = refuse_for_kernel(e, error);
        if (r == 0)
                r = make_name(name);
        if (r == 0)
                r = kernel_key(e->unlocked, &key);
        if (r < 0)
                return r;
        m = calloc(1, sizeof *m);
        if (!m)
                return -ENOMEM;
        r = activate(e->volume_fd, name, key);
        if (r < 0) {
                free(m);
                if (r == -EBUSY)
                        return bth_error_set(error, r, BTH_REASON_DEVICE_BUSY,
                                             "the volume is in use");
                return missing(error, "libcryptsetup could not map the volume");
        }
        memcpy(m->name, name, sizeof m->name);
        r = open_mapping(m);
        if (r < 0) {
                mapping_free(&m->base);
                return bth_error_set(error, r, BTH_REASON_INTERNAL,
                                     "the mapped volume cannot be opened: %s", bth_strerror(r));
        }
        m->base = *m->below;
        m->base.ops = &ops;
        *ret_plain = &m->base;
        return 0;
}

int cry_provider_open(enum cry_provider p, const struct cry_encrypted *encrypted,
                      struct bth_source **ret_plain, struct bth_error *error)
{
        switch (p) {
        case CRY_PROVIDER_USERSPACE:
                return cry_view_new(encrypted->volume, encrypted->metadata, encrypted->unlocked,
                                    ret_plain, error);
        case CRY_PROVIDER_DM_CRYPT:
                return open_dm_crypt(encrypted, ret_plain, error);
        default:
                return bth_error_set(error, -EINVAL, BTH_REASON_USAGE,
                                     "there is no such way to unlock");
        }
}
