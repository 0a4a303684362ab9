/* Keeps libraries open until the process ends, so that a report of leaks can name them, and what drivers keep can be told from what
 * Rimlight forgets. */
int dlclose(void *library);

int dlclose(void *library) {
    (void)library;
    return 0;
}
