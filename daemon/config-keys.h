/* SPDX-License-Identifier: GPL-3.0-or-later */
/* config-keys - which keys the sections of berthd.conf have, what they take, and where it goes: a
 * table a section. Inside daemon/config*.c only. */
#pragma once

#include "daemon/config.h"
#include "daemon/ini.h"

struct config_keys; /* of one section, in the struct that its values go to */

extern const struct config_keys config_station_keys;  /* struct dmn_config */
extern const struct config_keys config_account_keys;  /* struct dmn_account_config */
extern const struct config_keys config_api_keys;      /* struct dmn_api_config */
extern const struct config_keys config_location_keys; /* struct dmn_location_config */
/* A bay has no struct of its own: the key is the kind of its place. */
extern const char *const config_bay_keys[_HAL_PLACE_KIND_MAX];

/* Sets the member of `base` that the entry's key is for. Returns 0; -EINVAL with the sentence, but
 * without file and line; -ENOMEM. */
int config_set(const struct config_keys *keys, void *base, const struct dmn_ini_entry *e,
               struct bth_error *error) _must_check_;
/* Frees what config_set() has set, but not `base`. */
void config_free_texts(const struct config_keys *keys, void *base);

/* A copy takes the place of what is there; of "", NULL does. Returns 0 or -ENOMEM. */
int config_set_text(char **member, const char *value) _must_check_;
/* The sentence for a value that is no good. Returns -EINVAL. */
int config_wrong(struct bth_error *error, const struct dmn_ini_entry *e, const char *expected);
