/* SPDX-License-Identifier: Apache-2.0 */
/* Feeds the empty input, then each file named on the command line, to a libFuzzer target built
 * without libFuzzer. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay(const char *path)
{
	FILE *file = fopen(path, "rb");
	uint8_t *data = NULL;
	long size = -1;
	int ret = -1;

	if (!file || fseek(file, 0, SEEK_END) || (size = ftell(file)) < 0 ||
	    fseek(file, 0, SEEK_SET))
		goto cleanup;
	/* Exactly as long as the input, so that ASan sees a read past its end. */
	data = malloc(size ? (size_t)size : 1);
	if (!data || fread(data, 1, (size_t)size, file) != (size_t)size)
		goto cleanup;
	LLVMFuzzerTestOneInput(data, (size_t)size);
	ret = 0;
cleanup:
	if (ret)
		perror(path);
	free(data);
	if (file)
		fclose(file);
	return ret;
}

int main(int argc, char **argv)
{
	uint8_t *empty = calloc(1, 1);
	int failed = !empty;

	if (empty)
		LLVMFuzzerTestOneInput(empty, 0);
	free(empty);
	for (int i = 1; i < argc; i++)
		failed |= replay(argv[i]) != 0;
	return failed;
}
