/* SPDX-License-Identifier: GPL-3.0-or-later */
/* transfers - the folders in which the runs of a drive remember what they did:
 * STATE_DIRECTORY/transfers/JOB-DRIVE/, by the job's id and the drive's index.
 *
 * A folder is the same for every run of its drive, and is of no use once the job has ended. */
#pragma once

#include "jobs/store.h"

#define DMN_TRANSFERS "transfers"

/* Opens the folder of a drive, which is made when it is not there. Returns 0; -errno of mkdir(2)
 * and open(2) with the folder in the error. */
int dmn_transfer_open(const char *state_directory, uint64_t job, size_t drive, int *ret_fd,
                      struct bth_error *error) _must_check_;

/* Removes the folders of jobs that have ended or are no more. On the store's thread. Returns 0; an
 * error of the store. What cannot be removed stays for the next time. */
int dmn_transfers_forget(struct job_store *store, const char *state_directory,
                         struct bth_error *error) _must_check_;
