.PHONY: model
model: ## weights of the selector anew, with Python (MCPHUB_DATA: folder of more sets); prints the leave-one-family-out table
	nice -n 15 hub/models/train/make.sh
