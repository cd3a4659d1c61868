/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The entry points that CPL hosts call.
 */
#define _GNU_SOURCE
#include "shim.h"

#include <cpl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define EXPORTED __attribute__((visibility("default")))

EXPORTED cpl_recipeconfig *muse_processing_get_recipeconfig(cpl_recipe *recipe);

static int shim_initialize(cpl_plugin *plugin)
{
    cpl_recipe *recipe = (cpl_recipe *)plugin;
    meta *description;

    if (plugin == NULL || cpl_plugin_get_type(plugin) != CPL_PLUGIN_TYPE_RECIPE) {
        return -1;
    }
    description = meta_load();
    if (description == NULL) {
        fail(CPL_ERROR_FILE_NOT_FOUND, "initialize", meta_path(), 1,
             "the recipe's description file is missing; run 'musetools plugins --install' again");
        return -1;
    }
    recipe->parameters = meta_parameters(description);
    meta_free(description);
    return 0;
}

static int shim_execute(cpl_plugin *plugin)
{
    cpl_recipe *recipe = (cpl_recipe *)plugin;
    meta *description;
    int status;

    if (plugin == NULL || recipe->parameters == NULL || recipe->frames == NULL) {
        fail(CPL_ERROR_NULL_INPUT, "execute", "plugin.c", __LINE__, "the host gave no parameters or no frames");
        return -1;
    }
    description = meta_load();
    if (description == NULL) {
        fail(CPL_ERROR_FILE_NOT_FOUND, "execute", meta_path(), 1,
             "the recipe's description file is missing; run 'musetools plugins --install' again");
        return -1;
    }
    status = run_recipe(recipe, description);
    meta_free(description);
    return status;
}

static int shim_deinitialize(cpl_plugin *plugin)
{
    cpl_recipe *recipe = (cpl_recipe *)plugin;

    if (plugin == NULL) {
        return -1;
    }
    cpl_parameterlist_delete(recipe->parameters);
    recipe->parameters = NULL;
    return 0;
}

EXPORTED int cpl_plugin_get_info(cpl_pluginlist *list)
{
    meta *description = meta_load();
    cpl_recipe *recipe;
    const char *tables;
    text about = {NULL, 0, 0};
    int status;

    if (description == NULL || meta_text(description, "name")[0] == '\0') {
        meta_free(description);
        return 1;
    }
    text_add(&about, meta_text(description, "description"));
    /* like the C recipes: only esorex shows the tables of frames, the other hosts list the frames themselves */
    tables = meta_text(description, "tables");
    if (tables[0] && strstr(program_invocation_short_name, "esorex") != NULL) {
        text_add(&about, "\n\n");
        text_add(&about, tables);
    }
    recipe = cpl_calloc(1, sizeof *recipe);
    status = cpl_plugin_init(&recipe->interface, CPL_PLUGIN_API, strtoul(meta_text(description, "version"), NULL, 10),
                             CPL_PLUGIN_TYPE_RECIPE, meta_text(description, "name"),
                             meta_text(description, "synopsis"), about.data, meta_text(description, "author"),
                             meta_text(description, "email"), meta_text(description, "copyright"), shim_initialize,
                             shim_execute, shim_deinitialize) != CPL_ERROR_NONE;
    free(about.data);
    meta_free(description);
    if (status) {
        cpl_plugin_delete(&recipe->interface);
        return 1;
    }
    return cpl_pluginlist_append(list, &recipe->interface) != CPL_ERROR_NONE;
}

/* python-cpl asks here which frames a MUSE recipe takes. */
cpl_recipeconfig *muse_processing_get_recipeconfig(cpl_recipe *recipe)
{
    meta *description = meta_load();
    cpl_recipeconfig *config = NULL;
    const char *name = recipe != NULL ? cpl_plugin_get_name(&recipe->interface) : NULL;

    if (description != NULL && name != NULL && !strcmp(name, meta_text(description, "name"))) {
        config = meta_recipeconfig(description);
    }
    meta_free(description);
    return config;
}
