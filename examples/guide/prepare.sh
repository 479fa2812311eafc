#!/usr/bin/env bash
# Bring this folder to where the deployment guide begins: two packaged versions, and the first one serving as
# current_model. Packages are built, so they are not committed. Safe to run again: it starts over.
#
# The port is the one in deployment.json. State lives in $HYPERION_HOME, by default the user's own.
set -euo pipefail
cd "$(dirname "$0")"

rm -rf model.hyperion model_v1.hyperion model_v2.hyperion backup metrics.json errors.log
# What a former round of the guide extracted into the model directory.
rm -rf model_dir/manifest.json model_dir/architecture.json model_dir/weights model_dir/config model_dir/assets

hyperion package model --input ../mnist/v1 --output model_v1.hyperion
hyperion package model --input ../mnist/v2 --output model_v2.hyperion --parent model_v1.hyperion
hyperion deploy model --input model_v1.hyperion --config deployment.json
