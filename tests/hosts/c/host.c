/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A small CPL host for leak and memory checks.
 *
 * host <library> <times>                       loads the plugin again and again
 * host <library> run <tag> <fault> <file> ...   runs it, with the parameter "fault" if that is not empty
 */
#include <cpl.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int (*get_info)(cpl_pluginlist *);
typedef cpl_recipeconfig *(*get_config)(cpl_recipe *);

static int use(void *handle)
{
    get_info info;
    get_config config;
    cpl_pluginlist *list = cpl_pluginlist_new();
    cpl_plugin *plugin;
    cpl_recipe other = {.interface = {.name = "another_recipe"}};
    int bad = 0;

    *(void **)&info = dlsym(handle, "cpl_plugin_get_info");
    *(void **)&config = dlsym(handle, "muse_processing_get_recipeconfig");
    if (info == NULL || config == NULL || info(list) != 0 || cpl_pluginlist_get_size(list) != 1) {
        cpl_pluginlist_delete(list);
        return 1;
    }
    plugin = cpl_pluginlist_get_first(list);
    bad |= cpl_plugin_get_init(plugin)(plugin) != 0;
    bad |= cpl_parameterlist_get_size(((cpl_recipe *)plugin)->parameters) == 0;
    cpl_recipeconfig_delete(config((cpl_recipe *)plugin));
    bad |= config(&other) != NULL || config(NULL) != NULL;
    bad |= cpl_plugin_get_deinit(plugin)(plugin) != 0;
    cpl_pluginlist_delete(list);
    return bad;
}

static int run(cpl_plugin *plugin, char **words, int count)
{
    cpl_recipe *recipe = (cpl_recipe *)plugin;
    cpl_parameter *parameter;
    int i, status;

    if (cpl_plugin_get_init(plugin)(plugin) != 0) {
        return 4;
    }
    for (parameter = cpl_parameterlist_get_first(recipe->parameters); parameter != NULL && words[1][0];
         parameter = cpl_parameterlist_get_next(recipe->parameters)) {
        if (strstr(cpl_parameter_get_name(parameter), ".fault") != NULL) {
            cpl_parameter_set_string(parameter, words[1]);
        }
    }
    recipe->frames = cpl_frameset_new();
    for (i = 2; i < count; i++) {
        cpl_frame *frame = cpl_frame_new();
        cpl_frame_set_filename(frame, words[i]);
        cpl_frame_set_tag(frame, words[0]);
        cpl_frameset_insert(recipe->frames, frame);
    }
    status = cpl_plugin_get_exec(plugin)(plugin);
    printf("status %d, %d frames, error: %s\n", status, (int)cpl_frameset_get_size(recipe->frames),
           cpl_error_get_message());
    cpl_error_reset();
    cpl_frameset_delete(recipe->frames);
    recipe->frames = NULL;
    return cpl_plugin_get_deinit(plugin)(plugin) != 0;
}

static int run_once(const char *library, char **words, int count)
{
    void *handle = dlopen(library, RTLD_NOW);
    cpl_pluginlist *list = cpl_pluginlist_new();
    get_info info;
    int bad;

    if (handle == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        return 2;
    }
    *(void **)&info = dlsym(handle, "cpl_plugin_get_info");
    info(list);
    bad = run(cpl_pluginlist_get_first(list), words, count);
    cpl_pluginlist_delete(list);
    dlclose(handle);
    return bad;
}

int main(int argc, char **argv)
{
    long i, times = argc > 2 ? strtol(argv[2], NULL, 10) : 1;

    cpl_init(CPL_INIT_DEFAULT);
    if (argc > 5 && !strcmp(argv[2], "run")) {
        int bad = run_once(argv[1], argv + 3, argc - 3);
        cpl_end();
        return bad;
    }
    for (i = 0; i < times; i++) {
        void *handle = dlopen(argv[1], RTLD_NOW);
        if (handle == NULL) {
            fprintf(stderr, "%s\n", dlerror());
            return 2;
        }
        if (use(handle)) {
            fprintf(stderr, "plugin misbehaves in turn %ld\n", i);
            return 3;
        }
        dlclose(handle);
    }
    cpl_end();
    return 0;
}
