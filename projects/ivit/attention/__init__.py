# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
