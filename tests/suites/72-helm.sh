title_helm="the Helm chart: lint, templates, schema (needs helm, or Go to build it)"
suite_helm() { script_suite tests/helm/*_test.sh; }
