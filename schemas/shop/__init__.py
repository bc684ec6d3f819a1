"""The shop's schemas, one folder per aggregate type: `<type>/<Name>.v<version>.avsc`."""
